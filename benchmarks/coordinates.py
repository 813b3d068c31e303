"""Bonds, angles and torsions of a molecule over the frames of its runs."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kstep_integrators.diagnostics import (
    bond_angles,
    bond_lengths,
    dihedral_angles,
    torsion_wells,
)
from kstep_training.dataset.internal_coordinates import internal_coordinates
from kstep_training.evaluate.structure import label

__all__ = ["SLOW", "Coordinates", "folded", "slow_wells", "torsion_names"]

TRANSFERRED = 0.4
"""Angstrom by which a proton has to be nearer to one partner than to the other."""

SLOW = {
    "ethanol": {"methyl": (3, 0, 1, 2), "hydroxyl": (0, 1, 2, 8)},
    "malonaldehyde": {"proton": (0, 8, 4)},
}
"""What changes seldom: torsions with three staggered wells, and the proton between its oxygens."""

CYCLE = [0, 1, 2, 4, 5, 3, 6, 7, 8]
"""Turns the hydrogens of the methyl group of ethanol."""
OTHER_END = [4, 3, 2, 1, 0, 7, 6, 5, 8]
"""Numbers malonaldehyde from its other end."""


class Coordinates:
    """Internal coordinates along the bonds of a molecule.

    Parameters
    ----------
    atoms : ase.Atoms
        At a geometry that shows the bonds.
    """

    def __init__(self, atoms: Atoms) -> None:
        found = internal_coordinates(atoms.numbers.astype(np.int64), atoms.positions)
        self.pairs, self.triples = found["bonds"], found["angles"]
        self.quadruples = [tuple(group) for group in found["dihedrals"]]

    def of(self, positions: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        """Coordinates (..., Q) by kind at positions (..., n, 3); angstrom and radians."""
        return {
            "bonds": bond_lengths(positions, self.pairs),
            "angles": bond_angles(positions, self.triples),
            "torsions": dihedral_angles(positions, self.quadruples),
        }


def torsion_names(atoms: Atoms, coordinates: Coordinates) -> list[str]:
    """Such as C0-C1-O2-H8."""
    return [label(atoms.numbers, group) for group in coordinates.quadruples]


def slow_wells(
    positions: np.ndarray,  # type: ignore[type-arg]
    group: tuple[int, ...],
    transferred: float = TRANSFERRED,
) -> np.ndarray:  # type: ignore[type-arg]
    """Which well each frame (..., n, 3) is in, -1 between them."""
    if len(group) == 3:
        near, far = np.moveaxis(bond_lengths(positions, [group[:2], group[1:]]), -1, 0)
        return np.where(np.abs(near - far) < transferred, -1, (near > far).astype(int))
    return torsion_wells(dihedral_angles(positions, [group])[..., 0])


def folded(name: str, positions: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Frames (..., n, 3) with equal atoms renumbered, so that equivalent wells become one.

    How often a methyl group has turned by a third, or on which oxygen of malonaldehyde the proton
    is, says nothing of the distribution of energies and shapes, and changes too seldom to compare.
    """
    if name == "malonaldehyde":
        there = slow_wells(positions, SLOW[name]["proton"], 0.0) == 0
        return np.where(there[..., None, None], positions[..., OTHER_END, :], positions)
    turns = [positions]
    for _ in range(2):
        turns.append(turns[-1][..., CYCLE, :])
    trans = [np.abs(dihedral_angles(x, SLOW[name]["methyl"])[..., 0]) for x in turns]
    best = np.argmax(trans, axis=0)[..., None, None]
    return np.choose(best, turns)
