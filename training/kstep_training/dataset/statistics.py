"""Sums over the frames of one shard, and the statistics of a dataset that they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase.data import covalent_radii

from kstep_integrators import units
from kstep_integrators.mechanics.near_pairs import neighbor_pairs
from kstep_integrators.nn.increments.network import BASELINES
from kstep_training.dataset.increments import End, window_increments

__all__ = ["closest", "closest_in_cells", "dataset_statistics", "increment_sums", "window_starts"]

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.void]

NEAR = 4.0
"""Distance up to which atoms in cells are looked at for the closest, angstrom."""


def window_starts(segment: tuple[int, int], k: int, every: int) -> range:
    """First frames of the windows of k base steps in a segment."""
    first, end = segment
    return range(first, end - k, every)


def closest(numbers: npt.NDArray[np.int64], rows: Rows) -> dict[str, float]:
    """Shortest distance between atoms of each pair of elements (``"1,6"``), angstrom."""
    nearest: dict[str, float] = {}
    x = rows["positions"]
    for i, j in combinations(range(len(numbers)), 2):
        a, b = sorted((int(numbers[i]), int(numbers[j])))
        shortest = float(np.linalg.norm(x[:, i] - x[:, j], axis=1).min())
        nearest[f"{a},{b}"] = min(shortest, nearest.get(f"{a},{b}", np.inf))
    return nearest


def closest_in_cells(
    numbers: npt.NDArray[np.int64], rows: Rows, pbc: Sequence[bool]
) -> dict[str, float]:
    """As :func:`closest`, among all images within 4 angstrom."""
    nearest: dict[str, float] = {}
    periodic = (pbc[0], pbc[1], pbc[2])
    for row in rows:
        x = torch.from_numpy(row["positions"].copy())
        pairs, offsets = neighbor_pairs(x, torch.from_numpy(row["cell"].copy()), periodic, NEAR)
        i, j = pairs.unbind(1)
        distances = (x[j] - x[i] + offsets).norm(dim=1).numpy()
        kinds = np.sort(numbers[pairs.numpy()], axis=1)
        for a, b in np.unique(kinds, axis=0).tolist():
            shortest = float(distances[(kinds == [a, b]).all(1)].min())
            nearest[f"{a},{b}"] = min(shortest, nearest.get(f"{a},{b}", np.inf))
    return nearest


def increment_sums(
    numbers: npt.NDArray[np.int64],
    masses: Array,
    rows: Rows,
    segments: Sequence[tuple[int, int]],
    timestep_fs: float,
    windows: tuple[Sequence[int], int, bool],
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Sums of squares of the increments of a shard.

    Parameters
    ----------
    numbers, masses : (n_atoms,)
    rows : (n_frames,) of :func:`kstep_training.dataset.segments.row_type`
    segments : sequence of (int, int)
    timestep_fs : float
    windows : (sequence of int, int, bool)
        Base steps of the windows, frames between their starts, and whether there are time-reversed
        twins.

    Returns
    -------
    dict
        By baseline, k and element: number of components, sum of dx^2 and sum of dv^2.
    """
    lengths, every, twins = windows
    mass = torch.from_numpy(masses)
    sums: dict[str, dict[str, dict[str, list[float]]]] = {name: {} for name in BASELINES}
    for k in lengths:
        starts = np.array([s for run in segments for s in window_starts(run, k, every)], int)
        if not len(starts):
            continue
        ends = _end(rows[starts], 1.0), _end(rows[starts + k], 1.0)
        pairs = [ends]
        if twins:
            pairs.append((_end(rows[starts + k], -1.0), _end(rows[starts], -1.0)))
        for baseline in BASELINES:
            by_element = sums[baseline].setdefault(str(k), {})
            for start, end in pairs:
                stride = k * timestep_fs * units.FS
                both = window_increments(baseline, start, end, mass, stride)
                for z in np.unique(numbers).tolist():
                    dx, dv = (part[:, torch.from_numpy(numbers == z)] for part in both)
                    new = dx.numel(), float(dx.square().sum()), float(dv.square().sum())
                    old = by_element.get(str(z), [0.0, 0.0, 0.0])
                    by_element[str(z)] = [float(a + b) for a, b in zip(old, new, strict=True)]
    return sums


def _end(rows: Rows, direction: float) -> End:
    x, v, f = (torch.from_numpy(rows[name]) for name in ("positions", "velocities", "forces"))
    return x, direction * v, f


def dataset_statistics(
    shards: Sequence[Mapping[str, Any]], numbers: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Statistics of the training part.

    Parameters
    ----------
    shards : sequence of mapping
        Of the training part: ``molecule``, ``frames``, and in ``sums`` ``energy``, ``closest`` and
        ``increments``.
    numbers : mapping of str to sequence of int
        Atomic numbers of the molecules.

    Returns
    -------
    dict
        ``elements``; ``shifts``, least-squares energy (eV) of each element over the mean energies
        of the molecules; ``nearest``, shortest distance (angstrom) of each pair of elements, or the
        sum of the covalent radii where there is none; ``increments``, by baseline, k and
        element the root mean squares of dx (angstrom) and dv (angstrom / ASE time).
    """
    molecules = sorted({str(shard["molecule"]) for shard in shards})
    elements = sorted({int(z) for molecule in molecules for z in numbers[molecule]})
    counts = np.array([[list(numbers[m]).count(z) for z in elements] for m in molecules], float)
    means = []
    for molecule in molecules:
        own = [shard for shard in shards if shard["molecule"] == molecule]
        total = sum(shard["sums"]["energy"] for shard in own)
        means.append(total / sum(shard["frames"] for shard in own))
    shifts, *_ = np.linalg.lstsq(counts, np.array(means), rcond=None)
    radii = covalent_radii[elements]
    nearest = np.full((len(elements), len(elements)), np.inf)
    for shard in shards:
        for pair, distance in shard["sums"]["closest"].items():
            a, b = (elements.index(int(z)) for z in pair.split(","))
            nearest[a, b] = nearest[b, a] = min(nearest[a, b], distance)
    nearest = np.where(np.isfinite(nearest), nearest, radii[:, None] + radii[None, :])
    return {
        "elements": elements,
        "shifts": shifts.tolist(),
        "nearest": nearest.tolist(),
        "increments": {
            name: _roots([s["sums"]["increments"][name] for s in shards]) for name in BASELINES
        },
    }


def _roots(sums: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    added: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for shard in sums:
        for k, by_element in shard.items():
            totals = added.setdefault(k, {})
            for z, values in by_element.items():
                totals[z] = totals.get(z, np.zeros(3)) + np.array(values)
    return {
        k: {z: np.sqrt(v[1:] / v[0]).tolist() for z, v in totals.items()}
        for k, totals in added.items()
    }
