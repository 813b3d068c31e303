"""Ethanol under B3LYP/def2-SVP at equal simulated time: seconds, evaluations, SCF cycles, drift.

python -m benchmarks.dft                           # result dft.json
python -m benchmarks.dft --tuned FILE --only verlet-0.5 tuned-2 tuned-4 --result dft_tuned

All runs start from the same state and are advanced in turns, a few fs each, in one process, so
that whatever else the machine does falls on all of them alike. The same density extrapolation
serves all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import CalculatorPotential, KStepDynamics, load_model
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.diagnostics import distance_between, energy_drift
from kstep_integrators.potentials import Potential

TURN_FS = 4.0
BASE_FS = 0.5


@dataclass
class Run:
    """One run and what it has cost so far."""

    name: str
    stride_fs: float
    dynamics: MolecularDynamics
    calculator: PySCFCalculator
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    positions: list[Any] = field(default_factory=list)

    def sample(self) -> None:
        """Total energy and positions, from results that are there already."""
        atoms = self.dynamics.atoms
        self.times.append(self.dynamics.get_time())
        self.energies.append(atoms.get_total_energy())
        self.cycles.append(self.calculator.last_call.scf_cycles)
        self.positions.append(atoms.get_positions())

    def advance(self) -> None:
        """Go on for one turn."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.dynamics.run(round(TURN_FS / self.stride_fs))
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu

    def row(self, reference: Run | None) -> dict[str, Any]:
        """What the run shows."""
        atoms = self.dynamics.atoms
        totals = self.calculator.totals
        found = energy_drift(np.array(self.times), np.array(self.energies), len(atoms))
        row: dict[str, Any] = {
            "run": self.name,
            "stride_fs": self.stride_fs,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "evaluations": totals.scf_runs,
            "gradients": totals.gradients,
            "scf_cycles": totals.scf_cycles,
            "scf_cycles_per_call_after_10": float(np.mean(self.cycles[10:] or np.nan)),
            "scf_retries": totals.retries,
            "scf_seconds": totals.scf_seconds,
            "gradient_seconds": totals.gradient_seconds,
            "drift_meV_per_atom_per_ps": found.drift,
            "fluctuation_meV_per_atom": found.fluctuation,
            "largest_energy_error_meV": 1000.0 * float(np.ptp(self.energies)),
        }
        if isinstance(self.dynamics, KStepDynamics):
            stats = self.dynamics.stats
            row |= {
                "base_step_fs": BASE_FS,
                "residual_meV_per_A": 1000.0 * stats.residual_rms,
                "fallbacks": stats.fallbacks,
                "jump_seconds": stats.jump_seconds,
            }
        if reference is not None:
            row["speedup_over_verlet_0.5"] = reference.seconds / self.seconds
            row["cpu_speedup_over_verlet_0.5"] = reference.cpu_seconds / self.cpu_seconds
            row["rmsd_from_verlet_0.5_A"] = _rmsd(self, reference)
        return row


def _rmsd(run: Run, reference: Run) -> dict[str, float]:
    """Distance from another run at some times, angstrom."""
    found = {}
    for femtoseconds in (20.0, 40.0, 60.0, 80.0, 100.0):
        here, there = (round(femtoseconds / r.stride_fs) for r in (run, reference))
        if here < len(run.positions) and there < len(reference.positions):
            gap = distance_between(run.positions[here], reference.positions[there])
            found[f"{femtoseconds:g}fs"] = float(gap)
    return found


def _runs(start: Atoms, xc: str, basis: str, tuned: str | None) -> dict[str, Callable[[], Run]]:
    def make(name: str, stride: float, potential: Callable[[], Potential] | None) -> Run:
        atoms = start.copy()
        calculator = PySCFCalculator(xc=xc, basis=basis, device="cpu", threads=1)
        atoms.calc = calculator
        dynamics = (
            VelocityVerlet(atoms, stride * units.fs)
            if potential is None
            else KStepDynamics(
                atoms, potential(), k=round(stride / BASE_FS), timestep=BASE_FS * units.fs
            )
        )
        run = Run(name, stride, dynamics, calculator)
        dynamics.attach(run.sample)
        return run

    potentials: dict[str, Callable[[], Potential]] = {
        "organic-gfn2": lambda: load_model("organic-gfn2", compile=False),
        "GFN2-xTB": lambda: CalculatorPotential(xtb_calculator("GFN2-xTB")),
    }
    if tuned is not None:
        potentials["tuned"] = lambda: load_model(tuned, compile=False)
    made: dict[str, Callable[[], Run]] = {
        f"verlet-{stride:g}": lambda s=stride: make(f"verlet-{s:g}", s, None)
        for stride in (0.5, 1.0)
    }
    for key, potential in potentials.items():
        for stride in (2.0, 4.0):
            name = f"{key}-{stride:g}"
            made[name] = lambda n=name, s=stride, p=potential: make(n, s, p)
    return made


def main() -> None:
    """Make the runs in turns, writing the result after each turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--femtoseconds", type=float, default=100.0)
    parser.add_argument("--xc", default="b3lyp")
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--tuned", help="model file of a network tuned on the physics")
    parser.add_argument("--only", nargs="+", help="names of the runs to make")
    parser.add_argument("--result", default="dft")
    arguments = parser.parse_args()
    start = thermalized("ethanol")
    start.calc = None
    available = _runs(start, arguments.xc, arguments.basis, arguments.tuned)
    runs = [available[name]() for name in arguments.only or available]
    turns = round(arguments.femtoseconds / TURN_FS)
    for turn in range(1, turns + 1):
        for run in runs:
            run.advance()
        if turn < 4:  # too few points for a drift
            continue
        reference = next((r for r in runs if r.name == "verlet-0.5"), None)
        write_result(
            arguments.result,
            {
                "molecule": "ethanol",
                "physics": f"{arguments.xc}/{arguments.basis}",
                "femtoseconds": turn * TURN_FS,
                "threads": 1,
                "rows": [run.row(reference) for run in runs],
            },
        )
        print([f"{r.name} {r.seconds:.0f} s" for r in runs], flush=True)


if __name__ == "__main__":
    main()
