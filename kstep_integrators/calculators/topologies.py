"""Which molecule a geometry belongs to, for a force field that keeps the bonds it began with."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial import cKDTree

from kstep_integrators.notices import KStepWarning

__all__ = ["Topologies", "Topology"]

REACH = 1.25
"""Atoms are bonded within this multiple of the sum of their covalent radii."""

JUMP = 0.8
"""angstrom; a bond that is made or broken by more from one call to the next is no motion."""

Pair = tuple[int, int]


class Topology:
    """The bonds of one molecule, and where it was last.

    Attributes
    ----------
    reference : ase.Atoms
        The geometry that the bonds are those of.
    last : (N, 3) array, angstrom
        Positions of the last call.
    engine : Any
        What the force field has made of the reference; None until it has.
    """

    def __init__(self, reference: Atoms) -> None:
        self.reference = reference.copy()
        self.last = reference.get_positions()
        self.engine: Any = None
        self._asked: weakref.WeakValueDictionary[int, Atoms] = weakref.WeakValueDictionary()

    def asked(self, atoms: Atoms) -> bool:
        """True if this very object has been computed with these bonds."""
        return self._asked.get(id(atoms)) is atoms

    def take(self, atoms: Atoms) -> None:
        """Note an object, and where it is."""
        self._asked[id(atoms)] = atoms
        self.last = atoms.get_positions()

    def __getstate__(self) -> dict[str, Any]:
        """Reference and last positions: the rest belongs to a process."""
        return {"reference": self.reference, "last": self.last}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["reference"])  # type: ignore[misc]
        self.last = state["last"]


class Topologies:
    """Bonds of all molecules that a force field has met.

    A geometry of the same elements in the same order, with the same charge, belongs to a molecule
    that is known

    - if it is that of an Atoms object which was computed before: whatever its atoms do, reactions
      included, the bonds stay. It is refused if bonds were broken *and* others made, by more than
      0.8 angstrom each, since the call before: no motion does that;
    - else, if no bond was broken or made by more than that since the last call for the molecule, or
      beside the geometry that its bonds are those of.

    All else is another molecule with bonds of its own, which a ``KStepWarning`` says if its
    elements were known. Where the user has named a geometry, its bonds are those of all.

    Parameters
    ----------
    reference : ase.Atoms, optional
        The geometry that the user has named.
    """

    def __init__(self, reference: Atoms | None = None) -> None:
        self.reference = reference
        self.known: dict[tuple[Any, ...], list[Topology]] = {}

    def of(self, atoms: Atoms, key: tuple[Any, ...]) -> Topology:
        """The topology of a molecule.

        Parameters
        ----------
        atoms : ase.Atoms
        key : tuple
            Elements and charge.

        Raises
        ------
        ValueError
            If an Atoms object has become another molecule, or is not that of the reference.
        """
        known = self.known.setdefault(key, [])
        if self.reference is not None:
            if not np.array_equal(self.reference.numbers, atoms.numbers):
                raise ValueError(
                    f"the atoms are {atoms.symbols}, but the reference of the calculator is "
                    f"{self.reference.symbols}, in this order; make a calculator for each molecule"
                )
            if not known:
                known.append(Topology(self.reference))
            return known[0]
        for one in known:
            if one.asked(atoms):
                broken, made = _changed(one.last, atoms)
                if broken and made:
                    raise ValueError(
                        f"since they were last computed, the atoms of "
                        f"{atoms.get_chemical_formula()} have lost the bonds {broken[:5]} and "
                        f"have the bonds {made[:5]} instead: another molecule, and the force "
                        "field would keep the bonds of the first. Call reset() of the calculator "
                        "to take them from here, or give each molecule an Atoms object of its own"
                    )
                one.take(atoms)
                return one
        for one in known:
            for place in (one.last, one.reference.positions):
                if not any(_changed(place, atoms)):
                    one.take(atoms)
                    return one
        if known:
            broken, made = _changed(known[-1].last, atoms)
            warnings.warn(
                f"{atoms.get_chemical_formula()} has the elements of a molecule that this "
                f"calculator knows, but not its bonds (fewer: {broken[:5]}, more: {made[:5]}): "
                "it is computed as another molecule, with bonds of its own. If it is the same "
                "one, far from where it was, pass its bonded geometry as reference=",
                KStepWarning,
                stacklevel=4,
            )
        new = Topology(atoms)
        new.take(atoms)
        known.append(new)
        return new


def _changed(before: npt.NDArray[np.float64], atoms: Atoms) -> tuple[list[Pair], list[Pair]]:
    """Bonds that are there no more, and new ones, by more than :data:`JUMP`."""
    now = atoms.positions
    if np.linalg.norm(now - before, axis=1).max() < JUMP / 2:
        return [], []
    old, new = _bonds(before, atoms.numbers), _bonds(now, atoms.numbers)

    def far(pair: Pair) -> bool:
        i, j = pair
        apart = (np.linalg.norm(where[i] - where[j]) for where in (before, now))
        return bool(abs(next(apart) - next(apart)) > JUMP)

    return sorted(filter(far, old - new)), sorted(filter(far, new - old))


def _bonds(positions: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]) -> set[Pair]:
    """Pairs of atoms within reach of each other."""
    radii = covalent_radii[numbers]
    pairs = cKDTree(positions).query_pairs(2 * REACH * radii.max(), output_type="ndarray")
    apart = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    near = apart < REACH * radii[pairs].sum(1)
    return {(int(i), int(j)) for i, j in pairs[near]}
