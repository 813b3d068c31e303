"""Curves of runs in cells: g(r), structure factor, mean-square displacement, profile of a slab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kstep_integrators.diagnostics import (
    compare_curves,
    density_profile,
    mean_square_displacement,
    radial_distributions,
    remove_drift,
    structure_factor,
    unwrap_positions,
)
from kstep_integrators.units import PS
from kstep_training.evaluate.record import Array, Record

__all__ = [
    "KINDS",
    "Curves",
    "cell_curves",
    "compare_cells",
    "drawn",
    "periodic_axes",
    "unwrapped",
]

KINDS: Final = ("radial", "structure", "displacement", "profile")
FRAMES: Final = 100
"""Of a run, for radial distributions and profiles."""
NEAR, FAR = 6.0, 8.0
"""Least and largest distance, angstrom, that a radial distribution goes to."""
WAVES, PHASES, SHELLS = 20, 3_000_000, 40
"""Frames of a run, phases of a run, and shells of wave vectors, for a structure factor."""
LONGEST: Final = 6.0
"""1/angstrom, of a wave vector."""
RELABELLINGS: Final = 19_999
LAGS: Final = 0.4
"""Part of a run that displacements go to."""
MARGIN = 3.0
"""Beyond the outermost atoms of a slab at the start, angstrom."""


@dataclass(frozen=True)
class Curves:
    """One curve of each run.

    Attributes
    ----------
    x : (K,)
        Distances or heights (angstrom), wavenumbers (1/angstrom), or times (ps).
    runs : (R, K)

    Examples
    --------
    >>> Curves(np.array([1.0, 2.0]), np.array([[0.0, 1.0], [1.0, 1.0]])).mean.tolist()
    [0.5, 1.0]
    """

    x: Array
    runs: Array

    @property
    def mean(self) -> Array:
        """Average over the runs, (K,)."""
        return np.asarray(self.runs.mean(axis=0))


def cell_curves(
    records: Sequence[Record], moving: bool, skip: float = 0.0, like: Record | None = None
) -> dict[str, dict[str, Curves]]:
    """Curves of runs in one cell, by kind, and by pair of elements or element.

    Parameters
    ----------
    records : sequence of Record
        That came to their end.
    moving : bool
        Whether the runs are dynamics, whose displacements mean something.
    skip : float
        Part of each run that is left out at its beginning.
    like : Record, optional
        Whose first frame says where the layers of a profile are; the first record by default.

    Returns
    -------
    dict
        ``radial`` of cells that are periodic in all directions, ``structure`` of those of them
        that stay as they are, ``profile`` of slabs, ``displacement`` of all; empty for isolated
        molecules.
    """
    curves: dict[str, dict[str, Curves]] = {}
    if not records or not any(records[0].pbc):
        return curves
    if all(records[0].pbc):
        curves["radial"] = _radial(records, skip)
        curves["structure"] = _structure(records, skip)
    if sum(records[0].pbc) == 2:
        curves["profile"] = _profile(records, skip, like or records[0])
    if moving:
        curves["displacement"] = _displacement(records)
    return {kind: made for kind, made in curves.items() if made}


def _landings(record: Record, skip: float) -> NDArray[np.int64]:
    kept = record.landings[round(skip * len(record.landings)) :]
    return kept[np.isfinite(record.positions[kept]).all((1, 2))]


def _some(record: Record, skip: float, count: int = FRAMES) -> tuple[Array, Array]:
    """Positions and cells of no more than some frames, evenly spread."""
    frames = _landings(record, skip)
    frames = frames[:: max(1, len(frames) // count)]
    cell = record.cell if record.cell.ndim == 2 else record.cell[frames]
    return record.positions[frames], cell


def _radial(records: Sequence[Record], skip: float) -> dict[str, Curves]:
    first = records[0].cell if records[0].cell.ndim == 2 else records[0].cell[0]
    heights = 1.0 / np.linalg.norm(np.linalg.inv(first), axis=0)
    limit = float(np.clip(0.5 * heights.min(), NEAR, FAR))
    each = [radial_distributions(*_some(r, skip), r.numbers, limit) for r in records]
    return {
        pair: Curves(g.distances, np.stack([run[pair].density for run in each]))
        for pair, g in each[0].items()
    }


def _structure(records: Sequence[Record], skip: float) -> dict[str, Curves]:
    """Structure factor of all atoms, by shells of wave vectors; nothing if cells change."""
    cell = records[0].cell
    if any(r.cell.ndim != 2 or not np.array_equal(r.cell, cell) for r in records):
        return {}
    vectors = PHASES / (WAVES * len(records[0].numbers))
    # Half of the lattice points in a sphere of reciprocal space.
    density = abs(np.linalg.det(cell)) / (2.0 * np.pi) ** 3
    limit = min(LONGEST, (vectors / (2.0 / 3.0 * np.pi * density)) ** (1.0 / 3.0))
    runs = []
    for record in records:
        found = structure_factor(_some(record, skip, WAVES)[0], cell, limit)
        sizes, factor, _ = found.shells(limit / SHELLS)
        runs.append(factor)
    return {"all atoms": Curves(sizes, np.stack(runs))}


def _profile(records: Sequence[Record], skip: float, like: Record) -> dict[str, Curves]:
    axis = like.pbc.index(False)
    cell = like.cell if like.cell.ndim == 2 else like.cell[0]
    normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
    heights = like.positions[0] @ (normal / np.linalg.norm(normal))
    limits = (float(heights.min()) - MARGIN, float(heights.max()) + MARGIN)
    bins = max(40, round((limits[1] - limits[0]) / 0.2))
    made = [density_profile(_some(r, skip)[0], r.masses, cell, limits, bins, axis) for r in records]
    return {"mass density": Curves(made[0].heights, np.stack([one.density for one in made]))}


def periodic_axes(record: Record) -> Array:
    """Orthonormal directions (D, 3) that the periodic cell vectors span."""
    cell = record.cell if record.cell.ndim == 2 else record.cell[0]
    directions = np.linalg.qr(cell[list(record.pbc)].T)[0]
    return np.asarray(directions.T)


def unwrapped(record: Record) -> tuple[Array, float] | None:
    """Landings without jumps through the walls and without drift, along what is periodic.

    Returns
    -------
    (F, N, D) numpy.ndarray, float
        Positions along :func:`periodic_axes`, and the interval of the frames, ASE units; None if
        landings are unevenly spread or too far apart to be unwrapped.
    """
    frames = _landings(record, 0.0)
    if len(frames) < 5 or len(np.unique(np.diff(frames))) != 1:
        return None
    cell = record.cell if record.cell.ndim == 2 else record.cell[frames]
    try:
        x = unwrap_positions(record.positions[frames], cell, record.pbc)
    except ValueError:
        return None  # more than half a cell between two frames
    if not record.fixed.any():
        x = remove_drift(x, record.masses)
    interval = float(record.time[frames[1]] - record.time[frames[0]])
    return x @ periodic_axes(record).T, interval


def _displacement(records: Sequence[Record]) -> dict[str, Curves]:
    paths = [unwrapped(record) for record in records]
    known = [path for path in paths if path is not None]
    if len(known) < len(paths):
        return {}
    interval = known[0][1]
    lags = max(2, int(LAGS * min(len(x) for x, _ in known)))
    curves = {}
    for element in np.unique(records[0].numbers):
        chosen = (records[0].numbers == element) & ~records[0].fixed
        if chosen.any():
            runs = [_squares(x[:, chosen])[:lags] for x, _ in known]
            time = np.arange(lags, dtype=np.float64) * (interval / PS)
            curves[chemical_symbols[element]] = Curves(time, np.stack(runs))
    return curves


def _squares(x: Array) -> Array:
    """Mean-square displacement of (F, N, D)."""
    size = x.shape[2]
    whole = np.zeros((*x.shape[:2], 3))
    whole[:, :, :size] = x
    return mean_square_displacement(whole, tuple(range(size)))


def compare_cells(
    mine: Mapping[str, Mapping[str, Curves]], reference: Mapping[str, Mapping[str, Curves]]
) -> dict[str, dict[str, Any]]:
    """Deviation of each curve from that of the reference, that between like runs, and the p-value.

    Displacements are compared at the lags that both have.
    """
    rows: dict[str, dict[str, Any]] = {}
    for kind, curves in mine.items():
        for name, curve in curves.items():
            other = reference.get(kind, {}).get(name)
            pair = None if other is None else _shared(curve, other)
            if pair is None or min(len(part) for part in pair) < 2:
                continue
            result = compare_curves(*pair, RELABELLINGS)
            runs = [len(part) for part in pair]
            rows.setdefault(kind, {})[name] = {**asdict(result), "runs": runs}
    return rows


def _shared(mine: Curves, other: Curves) -> tuple[Array, Array] | None:
    """Curves at the abscissas that both have; None if those are fewer than two."""
    if mine.x.shape == other.x.shape and np.allclose(mine.x, other.x):
        return mine.runs, other.runs
    step = max(mine.x[1] - mine.x[0], other.x[1] - other.x[0])
    ends = min(mine.x[-1], other.x[-1])
    kept = []
    for curves in (mine, other):
        every = round(step / (curves.x[1] - curves.x[0]))
        if every < 1 or abs(every * (curves.x[1] - curves.x[0]) / step - 1.0) > 1e-3:
            return None
        chosen = curves.x[::every] <= ends + 1e-6 * step
        kept.append(curves.runs[:, ::every][:, chosen])
    return (kept[0], kept[1]) if kept[0].shape[1] > 1 else None


def drawn(curves: Mapping[str, Mapping[str, Curves]]) -> dict[str, Any]:
    """Averages of the curves, for figures and JSON, with few digits and points."""
    return {
        kind: {
            name: {
                "x": [float(f"{v:.5g}") for v in curve.x[:: _every(curve)]],
                "y": [float(f"{v:.4g}") for v in curve.mean[:: _every(curve)]],
            }
            for name, curve in made.items()
        }
        for kind, made in curves.items()
    }


def _every(curve: Curves) -> int:
    return max(1, len(curve.x) // 200)
