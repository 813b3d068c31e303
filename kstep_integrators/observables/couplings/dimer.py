"""The two molecules of a dimer, found by their bonds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.models.molecules import bonded_pairs

__all__ = ["Dimer", "as_dimer", "dimer_kind", "kind_of_molecules", "split_dimer"]

HEAVIEST = 86
"""Atomic number of radon, the last element of GFN2."""


class Dimer(NamedTuple):
    """A dimer, and its atoms molecule by molecule.

    Attributes
    ----------
    first, second : ase.Atoms
        The molecule of the first atom, and the other; in the order of the dimer's atoms.
    order : (N,) int64
        Indices in the dimer of the atoms of ``first``, then of ``second``.
    molecule : (N,) int64
        0 or 1 for each atom of the dimer.
    """

    first: Atoms
    second: Atoms
    order: NDArray[np.int64]
    molecule: NDArray[np.int64]

    @property
    def joined(self) -> Atoms:
        """All atoms, those of the first molecule first."""
        joined: Atoms = self.first + self.second
        return joined


def split_dimer(atoms: Atoms) -> NDArray[np.int64]:
    """Molecule of each atom of a dimer.

    Atoms nearer than 1.25 sums of covalent radii are bonded.

    Parameters
    ----------
    atoms : ase.Atoms
        Two separate molecules in open space.

    Returns
    -------
    (N,) int64
        0 for the molecule of the first atom, 1 for the other.

    Raises
    ------
    ValueError
        If there are more or fewer molecules than two, or the atoms are in a periodic cell.

    Examples
    --------
    >>> from ase import Atoms
    >>> split_dimer(Atoms("H4", [[0, 0, 0], [0, 0, 3], [0, 0, 0.74], [0, 0, 3.74]])).tolist()
    [0, 1, 0, 1]
    """
    if atoms.pbc.any():
        raise ValueError(
            f"atoms.pbc is {atoms.pbc.tolist()}, expected two molecules in open space; cut the "
            "pair out of the cell, make its molecules whole, and set atoms.pbc = False"
        )
    if not np.isfinite(atoms.positions).all():
        raise ValueError("positions of the atoms are not finite, expected finite numbers")
    pairs = bonded_pairs(atoms)
    bonds = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=2 * (len(atoms),))
    count, labels = connected_components(bonds, directed=False)
    if count != 2:
        raise ValueError(
            f"{atoms.get_chemical_formula()} consists of {count} separate "
            f"{'molecule' if count == 1 else 'molecules'}, judged by its bonds, expected two: a "
            "coupling is one of a dimer. Take the pair you want out of a cluster"
        )
    return np.asarray(labels != labels[0], dtype=np.int64)


def as_dimer(atoms: Atoms) -> Dimer:
    """A dimer of two neutral closed shells, split into its molecules.

    Raises
    ------
    TypeError
        If it is no ``ase.Atoms``.
    ValueError
        If there are not two molecules, the dimer is charged or has an open shell, a molecule has an
        odd number of electrons, or an element is beyond radon.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"atoms is {atoms!r}, expected an ase.Atoms of two molecules")
    molecule = split_dimer(atoms)
    noted = electrons_noted(atoms)
    formula = atoms.get_chemical_formula()
    if noted.charge:
        raise ValueError(
            f"{formula} has charge {noted.charge}, expected a neutral dimer: couplings of holes "
            "and electrons are those of the orbitals of neutral molecules"
        )
    if noted.multiplicity not in (None, 1):
        raise ValueError(
            f"{formula} has multiplicity {noted.multiplicity}, expected a closed shell (1): only "
            "there is one set of orbitals to project on"
        )
    if int(atoms.numbers.max()) > HEAVIEST or int(atoms.numbers.min()) < 1:
        raise ValueError(
            f"{formula} has the atomic number {int(atoms.numbers.max())}, expected elements from "
            f"hydrogen to radon ({HEAVIEST}), which GFN2-xTB covers"
        )
    parts = []
    for index in (0, 1):
        part = Atoms(atoms.numbers[molecule == index], atoms.positions[molecule == index])
        electrons = int(part.numbers.sum())
        if electrons % 2:
            raise ValueError(
                f"molecule {index} of the dimer, {part.get_chemical_formula()}, has {electrons} "
                "electrons, expected an even number: a radical has no closed shell"
            )
        parts.append(part)
    return Dimer(parts[0], parts[1], np.argsort(molecule, kind="stable"), molecule)


def dimer_kind(atoms: Atoms) -> str:
    """Formulas of the two molecules of a dimer, sorted.

    Raises
    ------
    ValueError
        If it is no dimer.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> one, other = named_molecule("furan"), named_molecule("ethene")
    >>> other.translate([6.0, 0.0, 0.0])
    >>> dimer_kind(one + other)
    'C2H4+C4H4O'
    """
    molecule = split_dimer(atoms)
    return kind_of_molecules(atoms[molecule == 0], atoms[molecule == 1])


def kind_of_molecules(first: Atoms, second: Atoms) -> str:
    """Formulas of two molecules, sorted.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> kind_of_molecules(named_molecule("furan"), named_molecule("ethene"))
    'C2H4+C4H4O'
    """
    return "+".join(sorted(part.get_chemical_formula() for part in (first, second)))
