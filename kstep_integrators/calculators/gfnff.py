"""GFN-FF without files in the working directory and without output of its own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Read when the library is loaded: or what Fortran prints would wait in its buffer and come out at
# the end of the program.
os.environ.setdefault("GFORTRAN_UNBUFFERED_PRECONNECTED", "1")

import numpy as np
from ase import Atoms
from ase.units import Bohr
from xtb.ase.calculator import XTB

from kstep_integrators.calculators.electrons import charge_of, electrons_noted

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

    A molecule is known by its elements in their order, its charge and its periodicity. Its bonds
    are kept, while others are computed in between too, until :meth:`reset`.

    Parameters
    ----------
    charge : int or None
        Total charge in e; None: that of the atoms.
    """

    atoms: Any

    def __init__(self, charge: int | None = None) -> None:
        self._known: dict[tuple[Any, ...], Any] = {}
        self.total_charge = charge
        super().__init__(method="GFN-FF")

    def reset(self) -> None:
        """Forget results and the bonds of all molecules."""
        super().reset()
        self._known.clear()
        self._xtb = self._res = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List the changes since the last calculation, that of the charge included."""
        changes: list[str] = list(super().check_state(atoms, tol=tol))
        if not changes and self.atoms is not None and self._key(self.atoms) != self._key(atoms):
            changes.append("initial_charges")
        return changes

    def _charge(self, atoms: Atoms) -> int:
        noted = electrons_noted(atoms)
        if noted.multiplicity not in (None, 1):
            raise ValueError(
                f"the atoms have multiplicity {noted.multiplicity}, but GFN-FF has no spin; take "
                "it out of atoms.info and the initial magnetic moments, or use GFN2-xTB"
            )
        return charge_of(atoms, self.total_charge)

    def _key(self, atoms: Atoms) -> tuple[Any, ...]:
        return (atoms.numbers.tobytes(), self._charge(atoms), atoms.pbc.tobytes())

    def _check_api_calculator(self, system_changes: list[str]) -> None:
        key = self._key(self.atoms)
        known = self._known.get(key)
        if known is None:
            self._xtb = self._res = None
            self._known[key] = self._create_api_calculator()
        elif known is not self._xtb:
            self._res = None
        api = self._xtb = self._known[key]
        api.update(self.atoms.positions / Bohr, self.atoms.cell / Bohr)

    def _create_api_calculator(self) -> Any:
        # The library takes the charge from the atoms' initial charges; those of the atoms that
        # ASE compares with stay as they are.
        kept: Atoms = self.atoms
        charges = np.zeros(len(kept))
        charges[0] = self._charge(kept)
        self.atoms = kept.copy()
        self.atoms.set_initial_charges(charges)
        try:
            with _private_and_quiet():
                return super()._create_api_calculator()
        finally:
            self.atoms = kept
