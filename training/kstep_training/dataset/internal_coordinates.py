"""Bonds, angles and dihedrals of a molecule, and how they are distributed in its frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths, dihedral_angles
from kstep_integrators.models.molecules import bonded_pairs

__all__ = ["KINDS", "coordinate_moments", "equilibrium", "internal_coordinates"]

Array = npt.NDArray[np.float64]
Indices = dict[str, list[list[int]]]

LINEAR = np.radians(160.0)
"""A dihedral beside an angle wider than this says nothing."""

KINDS: dict[str, tuple[int, Callable[[Any, Any], Array]]] = {
    "bonds": (2, bond_lengths),
    "angles": (3, bond_angles),
    "dihedrals": (4, dihedral_angles),
}
"""Number of atoms, and values in angstrom or radians."""


def internal_coordinates(numbers: npt.NDArray[np.int64], positions: Array) -> Indices:
    """Index lists of all bonds, angles and dihedrals.

    Parameters
    ----------
    numbers : (n_atoms,) int
    positions : (n_atoms, 3) angstrom
        Near a minimum: bonds are found from distances.

    Returns
    -------
    dict
        ``bonds`` (i, j), ``angles`` (i, j, k) about j, ``dihedrals`` (i, j, k, l) about j-k.
    """
    bonds = [(int(i), int(j)) for i, j in bonded_pairs(Atoms(numbers, positions))]
    near: list[list[int]] = [[] for _ in numbers]
    for i, j in bonds:
        near[i].append(j)
        near[j].append(i)
    angles = [[i, j, k] for j, around in enumerate(near) for i in around for k in around if i < k]
    bent = {
        (i, j, k)
        for (i, j, k), angle in zip(angles, bond_angles(positions, angles), strict=True)
        if angle < LINEAR
    }
    bent |= {(k, j, i) for i, j, k in bent}
    dihedrals = [
        [i, j, k, m]
        for j, k in bonds
        for i in near[j]
        for m in near[k]
        if i != m and (i, j, k) in bent and (j, k, m) in bent
    ]
    return {"bonds": [list(bond) for bond in bonds], "angles": angles, "dihedrals": dihedrals}


def coordinate_moments(positions: Array, indices: Indices) -> dict[str, list[list[float]]]:
    """First and second moments over frames, from which those of several shards can be joined.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3) angstrom
    indices : dict
        Of :func:`internal_coordinates`.

    Returns
    -------
    dict
        For bonds and angles means and variances; for dihedrals mean cosines and mean sines.
    """
    moments = {}
    for kind, (_, measure) in KINDS.items():
        q = measure(positions, indices[kind])
        pair = (q.mean(0), q.var(0))
        if kind == "dihedrals":
            pair = (np.cos(q).mean(0), np.sin(q).mean(0))
        moments[kind] = [part.tolist() for part in pair]
    return moments


def equilibrium(
    moments: Sequence[dict[str, list[list[float]]]], frames: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """Means and standard deviations over the frames of several shards of one molecule.

    Parameters
    ----------
    moments : sequence of dict
        Of :func:`coordinate_moments`.
    frames : sequence of int
        Of each shard.

    Returns
    -------
    dict
        For each kind ``mean`` and ``std``, angstrom or radians. Dihedrals have the circular ones,
        sqrt(-2 ln R) with the mean resultant length R (Mardia & Jupp, Directional Statistics,
        2000, doi:10.1002/9780470316979).
    """
    weights = np.array(frames, dtype=float) / sum(frames)
    averages = {}
    for kind in KINDS:
        first, second = np.einsum("s,spc->pc", weights, np.array([m[kind] for m in moments]))
        if kind == "dihedrals":
            length = np.hypot(first, second).clip(1e-12, 1.0)
            mean, std = np.arctan2(second, first), np.sqrt(-2.0 * np.log(length))
        else:
            means = np.array([m[kind][0] for m in moments])
            mean, std = first, np.sqrt(second + weights @ (means - first) ** 2)
        averages[kind] = {"mean": mean.tolist(), "std": std.tolist()}
    return averages
