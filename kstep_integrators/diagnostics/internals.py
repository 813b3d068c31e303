"""The bonds, angles and torsions that the bonds of a molecule make."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths, dihedral_angles

__all__ = ["InternalCoordinates", "internal_coordinates"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class InternalCoordinates:
    """Which atoms make the internal coordinates of a molecule.

    Attributes
    ----------
    bonds : (B, 2) int64
    angles : (A, 3) int64
        The middle atom in the middle.
    torsions : (T, 4) int64
        About every bond, all that there are.
    """

    bonds: NDArray[np.int64]
    angles: NDArray[np.int64]
    torsions: NDArray[np.int64]

    def of(self, positions: ArrayLike) -> dict[str, Array]:
        """Values at positions (..., N, 3), (..., Q) for each kind that the molecule has.

        Returns
        -------
        dict of str to numpy.ndarray
            ``bonds`` in angstrom, ``angles`` and ``torsions`` in radians.
        """
        found = {}
        if len(self.bonds):
            found["bonds"] = bond_lengths(positions, self.bonds)
        if len(self.angles):
            found["angles"] = bond_angles(positions, self.angles)
        if len(self.torsions):
            found["torsions"] = dihedral_angles(positions, self.torsions)
        return found


def internal_coordinates(bonds: ArrayLike, n_atoms: int) -> InternalCoordinates:
    """Angles and torsions along bonds.

    Parameters
    ----------
    bonds : array_like of int
        Shape (B, 2), as from :func:`kstep_integrators.structures.bonded_pairs`.
    n_atoms : int

    Raises
    ------
    ValueError
        If a bond names an atom that is not there.
    """
    pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= n_atoms):
        raise ValueError(f"bonds name atoms {pairs.min()} to {pairs.max()}, there are {n_atoms}")
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in pairs.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    angles = [
        (a, centre, b)
        for centre, around in enumerate(neighbours)
        for a, b in itertools.combinations(around, 2)
    ]
    torsions = [
        (a, i, j, b)
        for i, j in pairs.tolist()
        for a in neighbours[i]
        for b in neighbours[j]
        if j != a != b != i
    ]
    return InternalCoordinates(
        pairs,
        np.array(angles, dtype=np.int64).reshape(-1, 3),
        np.array(torsions, dtype=np.int64).reshape(-1, 4),
    )
