"""Calculators for worker processes, with accidents that ``atoms.info`` asks for."""

import os
import signal
import time
from pathlib import Path

from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.testing import BrokenCalculator, MorseNetwork


class Located(MorseNetwork):
    """Says where it works, and how often it has."""

    calls = 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        name = self.atoms.info.get("diary")
        if name is not None:
            with open(name, "a") as diary:
                diary.write(f"{os.getpid()} {self.calls} {os.environ.get('OMP_NUM_THREADS')}\n")


class Deadly(Located):
    """Ends its process without a word, as long as there is a file."""

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


class Slow(MorseNetwork):
    """Takes a minute."""

    def calculate(self, *args, **kwargs):
        time.sleep(60.0)


def morse(atoms):
    """Springs whose rest lengths are those of the first geometry, or trouble."""
    accident = atoms.info.get("accident")
    if accident == "factory":
        raise LookupError("no parameters for this molecule")
    if accident == "slow":
        return Slow(atoms.positions)
    if accident == "kill":
        return Deadly(atoms.positions)
    if accident in ("raise", "nan"):
        return BrokenCalculator(Located(atoms.positions), [atoms.info.get("at", 2)], accident)
    return Located(atoms.positions)


def gfn2(atoms):
    return xtb_calculator("GFN2-xTB")
