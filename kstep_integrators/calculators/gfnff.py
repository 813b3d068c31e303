"""GFN-FF without files in the working directory and without output of its own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

# Read when the library is loaded: or what Fortran prints would wait in its buffer and come out at
# the end of the program.
os.environ.setdefault("GFORTRAN_UNBUFFERED_PRECONNECTED", "1")

import numpy as np
from ase import Atoms
from ase.calculators.calculator import InputError, all_changes
from ase.units import Bohr
from xtb.ase.calculator import XTB

from kstep_integrators.calculators.electrons import (
    charge_of,
    check_given,
    electrons_noted,
)
from kstep_integrators.calculators.topologies import Topologies

__all__ = ["GFNFF"]


@contextmanager
def _private_and_quiet() -> Iterator[None]:
    """Run in a temporary working directory, with standard output discarded.

    The library reads a topology file that it finds in the working directory, even one of another
    molecule, writes its own there, and prints from Fortran, past ``sys.stdout``.
    """
    here = os.getcwd()  # noqa: PTH109  (chdir wants what it gave)
    sys.stdout.flush()
    kept = os.dup(1)
    discarded = os.open(os.devnull, os.O_WRONLY)
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.dup2(discarded, 1)
            try:
                yield
            finally:
                os.dup2(kept, 1)
                os.chdir(here)
    finally:
        os.close(kept)
        os.close(discarded)


class GFNFF(XTB):  # type: ignore[misc]
    """GFN-FF as an ASE calculator; topology of a molecule from its first geometry.

    The bonds of each molecule are kept, while others are computed in between too, until
    :meth:`reset`; :class:`~kstep_integrators.calculators.topologies.Topologies` says what is a
    molecule. Copies and pickles keep them.

    Parameters
    ----------
    charge : int or None
        Total charge in e; None: that of the atoms.
    reference : ase.Atoms, optional
        A geometry to take the bonds of its molecule from, in place of the first that is computed.
        Other molecules are refused then; the charge is that of the atoms, not of the reference.
    """

    atoms: Any
    _xtb: Any

    def __init__(self, charge: int | None = None, reference: Atoms | None = None) -> None:
        if not isinstance(reference, Atoms | None):
            raise TypeError(
                f"reference is {reference!r}, expected an Atoms object whose bonds are to be kept"
            )
        self.reference = None if reference is None else reference.copy()
        self._atoms_asked: Atoms | None = None
        super().__init__(method="GFN-FF", charge=charge)
        self.reset()

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change the charge; the bonds of all molecules are forgotten with it.

        Raises
        ------
        TypeError, ValueError
            If there is nothing of that name to be set, or the charge is no whole number.
        """
        unknown = sorted({*kwargs} - {"charge", "method"})
        if unknown or kwargs.get("method", "GFN-FF") != "GFN-FF":
            raise TypeError(f"{kwargs} cannot be set, GFN-FF has a charge and nothing else to set")
        check_given(kwargs.get("charge"), None)
        changed: dict[str, Any] = super().set(**kwargs)
        return changed

    def reset(self) -> None:
        """Forget results and the bonds of all molecules but a reference."""
        self.forget_results()
        self._topologies = Topologies(self.reference)

    def forget_results(self) -> None:
        """Compute anew what is asked for next, with the bonds that are known."""
        super().reset()
        self._xtb = self._res = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List the changes since the last calculation, that of the charge included."""
        changes: list[str] = list(super().check_state(atoms, tol=tol))
        if not changes and self.atoms is not None and self._key(self.atoms) != self._key(atoms):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all properties; ASE calls this when they are not known yet."""
        self._atoms_asked = self.atoms if atoms is None else atoms
        try:
            super().calculate(atoms, list(properties or ["energy"]), list(system_changes))
        finally:
            self._atoms_asked = None

    def _charge(self, atoms: Atoms) -> int:
        noted = electrons_noted(atoms)
        if noted.multiplicity not in (None, 1):
            raise ValueError(
                f"the atoms have multiplicity {noted.multiplicity}, but GFN-FF has no spin; take "
                "it out of atoms.info and the initial magnetic moments, or use GFN2-xTB"
            )
        return charge_of(atoms, self.parameters["charge"])

    def _key(self, atoms: Atoms) -> tuple[Any, ...]:
        return (tuple(atoms.numbers.tolist()), self._charge(atoms))

    def _check_api_calculator(self, system_changes: list[str]) -> None:
        if len(self.atoms) == 0:
            raise ValueError("there are no atoms, expected at least one")
        if self.atoms.pbc.any():
            raise ValueError(
                f"atoms.pbc is {self.atoms.pbc.tolist()}, but the GFN-FF of xtb's library has no "
                "cells: set atoms.pbc = False for an isolated molecule or cluster, or use GFN2-xTB "
                "or GFN1-xTB, periodic in all three directions"
            )
        topology = self._topologies.of(cast(Atoms, self._atoms_asked), self._key(self.atoms))
        if topology.engine is None:
            topology.engine = self._make(topology.reference)
        if topology.engine is not self._xtb:
            self._res = None
        self._xtb = topology.engine
        self._xtb.update(self.atoms.positions / Bohr)

    def _make(self, reference: Atoms) -> Any:
        """The library's object, with the bonds of a geometry."""
        # It takes the charge from initial charges; those that ASE compares with stay.
        kept: Atoms = self.atoms
        charges = np.zeros(len(kept))
        charges[0] = self._charge(kept)
        self.atoms = Atoms(reference.numbers, reference.positions, charges=charges)
        try:
            with _private_and_quiet():
                return super()._create_api_calculator()
        except InputError as error:
            raise InputError(
                f"xtb cannot set up GFN-FF for {kept.get_chemical_formula()}: it has the elements "
                "from H to Rn, and wants no two atoms in one place"
            ) from error
        finally:
            self.atoms = kept

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the library's own objects, which are made again."""
        return {**self.__dict__, "_xtb": None, "_res": None}
