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

from xtb.ase.calculator import XTB

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
    """GFN-FF as an ASE calculator; topology from the first geometry.

    Parameters
    ----------
    charge : int
        Total charge in e.
    """

    def __init__(self, charge: int = 0) -> None:
        super().__init__(method="GFN-FF")
        self.total_charge = charge

    def _create_api_calculator(self) -> Any:
        # The library takes the charge from the atoms' initial charges.
        if self.total_charge:
            charges = self.atoms.get_initial_charges()
            charges[0] += self.total_charge - charges.sum()
            self.atoms.set_initial_charges(charges)
        with _private_and_quiet():
            return super()._create_api_calculator()
