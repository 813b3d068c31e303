"""Calculators for worker processes, with accidents that ``atoms.info`` asks for."""

import os
import signal
import time
from pathlib import Path

from ase.calculators.calculator import Calculator, all_changes

from kstep_integrators import named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.testing import BrokenCalculator, MorseNetwork

NAMES = ("water", "methane", "ethanol", "methanol")


class AnyMorse(Calculator):
    """Morse springs for any of some molecules; stateless."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, **parameters):
        super().__init__()
        molecules = map(named_molecule, NAMES)
        self.springs = {
            molecule.get_chemical_formula(): MorseNetwork(molecule.positions, **parameters)
            for molecule in molecules
        }

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        springs = self.springs[self.atoms.get_chemical_formula()]
        springs.calculate(self.atoms)
        self.results = dict(springs.results)


class Diarist(AnyMorse):
    """Says where it works, and how often it has."""

    calls = 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        name = self.atoms.info.get("diary")
        if name is not None:
            with open(name, "a") as diary:
                diary.write(f"{os.getpid()} {self.calls} {os.environ.get('OMP_NUM_THREADS')}\n")


class Deadly(AnyMorse):
    """Ends its process without a word, as often as a file says."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        lives = Path(self.atoms.info["lives"])
        if lives.exists():
            left = int(lives.read_text()) - 1
            if left:
                lives.write_text(str(left))
            else:
                lives.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Slow(AnyMorse):
    """Takes a minute."""

    def calculate(self, *args, **kwargs):
        time.sleep(60.0)


def morse(atoms):
    """Springs, or trouble."""
    accident = atoms.info.get("accident")
    if accident == "factory":
        raise LookupError("no parameters for this molecule")
    if accident == "slow":
        return Slow()
    if accident == "kill":
        return Deadly()
    if accident in ("raise", "nan"):
        return BrokenCalculator(Diarist(), atoms.info.get("at", [2]), accident)
    return Diarist()


def gfn2(atoms):
    return xtb_calculator("GFN2-xTB")
