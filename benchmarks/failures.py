"""Provoked failures with real calculators: what was noticed, and what became of the data.

    python -m benchmarks.failures

Ethanol under GFN2 with GFN1 inside, or water under PySCF, strides of 2 fs. Each case breaks
something on purpose and counts afterwards: frames that should be in the trajectory, frames that
are, whether the last good state can be gone on from, and what that cost.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io import read

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import CalculatorPotential, DynamicsFailed, KStepDynamics
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.testing import BrokenCalculator, CountingCalculator

STEPS = 12
Case = Callable[[], tuple[Atoms, dict[str, Any]]]


def gfn1() -> CalculatorPotential:
    """The potential of all cases."""
    return CalculatorPotential(xtb_calculator("GFN1-xTB"))


def ethanol(calculator: Calculator | None = None) -> Atoms:
    """Thermalized at 300 K."""
    atoms = thermalized("ethanol", picoseconds=0.2)
    if calculator is not None:
        atoms.calc = calculator
    return atoms


def collision(**settings: Any) -> Case:
    """The two carbons driven into each other."""

    def build() -> tuple[Atoms, dict[str, Any]]:
        atoms = ethanol()
        momenta, bond = atoms.get_momenta(), atoms.positions[0] - atoms.positions[1]
        momenta[0] -= 6.0 * bond
        momenta[1] += 6.0 * bond
        atoms.set_momenta(momenta)
        return atoms, {"energy_tolerance": 0.05, **settings}

    return build


def broken(calls: range, how: str) -> Case:
    """GFN2 that raises or returns NaN at some calls."""
    return lambda: (ethanol(BrokenCalculator(xtb_calculator("GFN2-xTB"), calls, how)), {})


class OneCycle(CountingCalculator):
    """PySCF with a single SCF cycle at some calls: no solver converges."""

    hindered = range(0)

    def calculate(self, *arguments: Any, **words: Any) -> None:
        """Limit the cycles and pass the call on."""
        solver = self.calculator.mean_field
        if solver is not None:
            solver.max_cycle = 1 if self.evaluations + 1 in self.hindered else 50
        super().calculate(*arguments, **words)


def scf(calls: range) -> Case:
    """Water whose SCF does not converge at some calls."""

    def build() -> tuple[Atoms, dict[str, Any]]:
        atoms = Atoms("OH2", [[0, 0, 0], [0, 0.77, 0.55], [0, -0.77, 0.55]])
        noise = np.random.default_rng(0).normal(0.0, 0.2, (3, 3))
        atoms.set_momenta(noise * np.sqrt(atoms.get_masses())[:, None])
        atoms.calc = OneCycle(PySCFCalculator(method="hf", basis="sto-3g", device="cpu"))
        atoms.calc.hindered = calls
        return atoms, {}

    return build


class Interrupting(CountingCalculator):
    """Sends the process a signal at one call."""

    at, sent = 7, signal.SIGINT

    def calculate(self, *arguments: Any, **words: Any) -> None:
        """Interrupt or pass the call on."""
        if self.evaluations + 1 == self.at:
            self.at = -1
            os.kill(os.getpid(), self.sent)
        super().calculate(*arguments, **words)


def interrupted() -> tuple[Atoms, dict[str, Any]]:
    """Ctrl-C within an evaluation."""
    return ethanol(Interrupting(xtb_calculator("GFN2-xTB"))), {}


CASES: dict[str, Case] = {
    "close contact, on_error=fallback": collision(),
    "close contact, on_error=shrink": collision(on_error="shrink"),
    "close contact, on_error=warn": collision(on_error="warn"),
    "close contact, on_error=stop": collision(on_error="stop"),
    "physics raises once": broken(range(5, 6), "raise"),
    "physics returns NaN once": broken(range(5, 6), "nan"),
    "physics raises for good": broken(range(5, 10**6), "raise"),
    "SCF (PySCF) does not converge once": scf(range(5, 6)),
    "SCF (PySCF) never converges again": scf(range(5, 10**6)),
    "Ctrl-C in an evaluation": interrupted,
}


def repaired(calculator: Calculator) -> Calculator:
    """A calculator that works, of the kind that did not."""
    if isinstance(calculator, OneCycle):
        return PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    return xtb_calculator("GFN2-xTB")


def provoke(name: str, build: Case) -> dict[str, Any]:
    """One case: run, then go on from what is left."""
    atoms, settings = build()
    row: dict[str, Any] = {"case": name}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dynamics = KStepDynamics(
            atoms, gfn1(), k=4, timestep=0.5 * units.fs, trajectory="md.traj", logfile="md.log",
            checkpoint="md.ckpt", checkpoint_interval=5, **settings,
        )  # fmt: skip
        try:
            dynamics.run(STEPS)
            row["ended"] = "finished"
        except (DynamicsFailed, KeyboardInterrupt) as error:
            row["ended"] = f"{type(error).__name__}: {error}"
    stats = dynamics.stats
    row |= {
        "steps": dynamics.nsteps,
        "frames": len(read("md.traj", ":")),
        "evaluations": stats.physics_evaluations,
        "fallbacks": stats.fallbacks,
        "shrinks": stats.shrinks,
        "exceeded": stats.exceeded,
        "reason": stats.last_problem,
        "warnings": [str(w.message) for w in told],
    }
    row["lost_frames"] = dynamics.nsteps + 1 - row["frames"]
    if row["ended"] != "finished":
        atoms.calc = repaired(atoms.calc)
        again = KStepDynamics.resume("md.ckpt", atoms.calc, gfn1())
        row["resumed_at"] = again.nsteps
        try:
            again.run(STEPS - again.nsteps)
            row["went_on"] = "finished"
        except DynamicsFailed as error:
            row["went_on"] = f"DynamicsFailed: {error}"
        frames = read("md.traj", ":")
        row["frames_in_the_end"] = len(frames)
        row["finite"] = bool(np.isfinite([frame.positions for frame in frames]).all())
    return row


def main() -> None:
    """Command line."""
    rows = []
    home = Path.cwd()
    for name, build in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                rows.append(provoke(name, build))
            finally:
                os.chdir(home)
        print({key: value for key, value in rows[-1].items() if key != "warnings"}, flush=True)
    write_result("failures", {"what": __doc__, "rows": rows})


if __name__ == "__main__":
    main()
