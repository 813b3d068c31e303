"""Bonds, angles and torsions of a molecule over the frames of its runs."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from kstep_integrators.diagnostics import bond_angles, bond_lengths, dihedral_angles
from kstep_integrators.structures import bonded_pairs

__all__ = ["Coordinates", "torsion_names"]


class Coordinates:
    """Internal coordinates along the bonds of a molecule.

    Parameters
    ----------
    atoms : ase.Atoms
        At a geometry that shows the bonds.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.pairs = bonded_pairs(atoms).tolist()
        neighbours: list[list[int]] = [[] for _ in atoms]
        for i, j in self.pairs:
            neighbours[i].append(j)
            neighbours[j].append(i)
        self.triples = [
            (a, centre, b)
            for centre, around in enumerate(neighbours)
            for a, b in itertools.combinations(around, 2)
        ]
        self.quadruples = [
            (a, i, j, b)
            for i, j in self.pairs
            for a in neighbours[i]
            for b in neighbours[j]
            if j != a != b != i
        ]

    def of(self, positions: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        """Coordinates (..., Q) by kind at positions (..., n, 3); angstrom and radians."""
        return {
            "bonds": bond_lengths(positions, self.pairs),
            "angles": bond_angles(positions, self.triples),
            "torsions": dihedral_angles(positions, self.quadruples),
        }


def torsion_names(atoms: Atoms, coordinates: Coordinates) -> list[str]:
    """Such as C0-C1-O2-H8."""
    return ["-".join(f"{atoms.symbols[i]}{i}" for i in group) for group in coordinates.quadruples]
