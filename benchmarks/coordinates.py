"""Bonds, angles and torsions of a molecule over the frames of its runs."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from kstep_integrators.diagnostics import bond_angles, bond_lengths, dihedral_angles
from kstep_integrators.structures import bonded_pairs

__all__ = ["SLOW", "Coordinates", "folded", "hops", "slow_wells", "torsion_names"]

STAGGERED = np.radians([-60.0, 60.0, 180.0])
CORE = np.radians(30.0)
"""How near to the bottom of a well a torsion has to come to have arrived there."""
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


def slow_wells(
    positions: np.ndarray,  # type: ignore[type-arg]
    group: tuple[int, ...],
    transferred: float = TRANSFERRED,
) -> np.ndarray:  # type: ignore[type-arg]
    """Which well each frame (..., n, 3) is in, -1 between them."""
    if len(group) == 3:
        near, far = np.moveaxis(bond_lengths(positions, [group[:2], group[1:]]), -1, 0)
        return np.where(np.abs(near - far) < transferred, -1, (near > far).astype(int))
    angles = dihedral_angles(positions, [group])
    away = np.abs(np.angle(np.exp(1j * (angles - STAGGERED))))
    return np.where(away.min(-1) < CORE, away.argmin(-1), -1)


def hops(wells: np.ndarray) -> int:  # type: ignore[type-arg]
    """Changes of the well last visited, over runs (B, F); recrossings of a barrier do not count."""
    visited = (run[run >= 0] for run in wells)
    return sum(int(np.count_nonzero(np.diff(run))) for run in visited)


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
