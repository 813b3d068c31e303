"""Processor and wall-clock time of runs under GFN2, everything included, by the plain call.

k-step dynamics at strides of 8 x 0.5 fs, r-RESPA with GFN-FF inside at the same, and ASE's velocity
Verlet at 0.5 and 1 fs, all without outputs, at constant energy from the same start at 300 K.
They advance in turns in one process, a segment at a time, so that whatever else the machine does
falls on all of them; figures are medians over segments, ratios those of the same segments. The
parts of a stride are seconds of the processor: physics, the jump with its corrections, the rest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from benchmarks.kernel import MODEL, system
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics, load_model
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.step.guard import DynamicsFailed

__all__ = ["NetworkCalculator", "wall_clock"]

K, BASE_FS = 8, 0.5
STRIDE_FS = K * BASE_FS
LENGTHS_FS = {"ethanol": 10_000.0, "aspirin": 1200.0, "Ace-Ala3-NMe": 400.0, "Ace-Ala9-NMe": 64.0}
"""Of each run."""
VERLET = {"verlet-0.5": 0.5, "verlet-1": 1.0}
RUNS = (*VERLET, "kstep", "respa")


class NetworkCalculator(Calculator):
    """A network as an ASE calculator, for equilibration and for the time of one such call."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, backend: str = "auto", model: str = MODEL) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.potential = load_model(model, device="cpu", backend=backend)
        self.bound: Any = None

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
                  ) -> None:  # fmt: skip
        """Energy and forces."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if "numbers" in system_changes:
            self.bound = self.potential.bind(state_from_atoms(atoms))
        with torch.no_grad():
            found, _ = self.bound(torch.from_numpy(self.atoms.positions), None)
        self.results = {"energy": float(found.energy), "forces": found.forces.numpy()}


def start(name: str) -> Atoms:
    """A molecule equilibrated at 300 K on the network, without net momentum or rotation."""
    atoms, rng = system(name), np.random.default_rng(0)
    atoms.calc = NetworkCalculator()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=300)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    Langevin(atoms, 1.0 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False,
             rng=rng).run(1000)  # fmt: skip
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    atoms.calc = None
    return atoms


@contextmanager
def processor_clock() -> Iterator[Callable[[], float]]:
    """Let runs count their seconds on the processor; yields the wall clock."""
    wall = time.perf_counter
    time.perf_counter = time.process_time
    try:
        yield wall
    finally:
        time.perf_counter = wall


class Run:
    """One run and what its segments cost."""

    def __init__(self, start: Atoms, key: str) -> None:
        self.atoms, self.key = start.copy(), key
        self.atoms.calc = xtb_calculator("GFN2-xTB")
        self.stride = VERLET.get(key, STRIDE_FS)
        if key in VERLET:
            self.dynamics: Any = VelocityVerlet(self.atoms, self.stride * units.fs)
        elif key == "kstep":
            self.dynamics = KStepDynamics(self.atoms, MODEL, k=K, timestep=BASE_FS * units.fs)
        else:
            inside = CalculatorPotential(xtb_calculator("GFN-FF"))
            self.dynamics = KStepDynamics(self.atoms, inside, k=K, timestep=BASE_FS * units.fs)
        self.lost = ""
        self.parts: dict[str, list[float]] = {"cpu": [], "wall": []}
        if key not in VERLET:
            self.parts |= {"physics": [], "jump": [], "rest": []}

    def advance(self, fs: float, wall: Callable[[], float]) -> None:
        """One segment, unless the run is lost; milliseconds of each part per picosecond."""
        if self.lost:
            return
        before, began, at = self._inside(), time.process_time(), wall()
        try:
            self.dynamics.run(round(fs / self.stride))
        except DynamicsFailed as error:
            self.lost = str(error)
            return
        spent = {"cpu": time.process_time() - began, "wall": wall() - at}
        inside = [after - earlier for after, earlier in zip(self._inside(), before, strict=True)]
        if inside:
            spent |= {"physics": inside[0], "jump": inside[1], "rest": spent["cpu"] - sum(inside)}
        for part, seconds in spent.items():
            self.parts[part].append(1e3 * seconds / (1e-3 * fs))

    def _inside(self) -> list[float]:
        """Seconds in the physics and in jumps that a k-step run has counted."""
        if self.key in VERLET:
            return []
        return [self.dynamics.stats.physics_seconds, self.dynamics.stats.jump_seconds]

    def row(self) -> dict[str, Any]:
        """Medians over the segments."""
        row: dict[str, Any] = {"stride_fs": self.stride}
        row |= {f"{part}_ms_per_ps": statistics.median(ms) for part, ms in self.parts.items()}
        if self.key not in VERLET:
            stats = self.dynamics.stats
            row |= {"evaluations": stats.physics_evaluations, "fallbacks": stats.fallbacks}
        if self.lost:
            row |= {
                "lost": self.lost.partition(". The last")[0],
                "segments": len(self.parts["cpu"]),
            }
        return row


def beside(name: str, options: WallClockOptions) -> dict[str, Any]:
    """All runs of one molecule, segment by segment."""
    from_here, length = start(name), options.scale * LENGTHS_FS[name]
    segments = max(1, min(options.segments, int(length / (2 * STRIDE_FS))))
    each = STRIDE_FS * round(length / segments / STRIDE_FS)
    with processor_clock() as wall:
        runs = {key: Run(from_here, key) for key in RUNS}
        for run in runs.values():
            run.dynamics.run(round(STRIDE_FS / run.stride))  # what is done once
        for _ in range(segments):
            for run in runs.values():
                run.advance(each, wall)
    row: dict[str, Any] = {"molecule": name, "atoms": len(from_here), "k": K}
    row |= {"picoseconds": 1e-3 * each * segments, "segments": segments}
    for clock in ("cpu", "wall"):
        for key, run in runs.items():
            if key != "kstep":
                pairs = zip(run.parts[clock], runs["kstep"].parts[clock], strict=False)
                ratios = [theirs / ours for theirs, ours in pairs]
                row[f"{clock}_of_{key}_over_kstep"] = statistics.median(ratios)
    return {**row, "runs": {key: run.row() for key, run in runs.items()}}


@dataclass(frozen=True)
class WallClockOptions(Options):
    """Molecules and lengths."""

    molecules: tuple[str, ...] = option(tuple(LENGTHS_FS), "some of them")
    segments: int = option(20, "that each run is cut into at most")
    scale: float = option(1.0, "of the lengths")

    @classmethod
    def smoke(cls, cache: Path) -> WallClockOptions:
        """Ethanol, two strides."""
        return cls(cache, ("ethanol",), 1, 0.0008)


def wall_clock(options: WallClockOptions) -> dict[str, Any]:
    """Milliseconds per picosecond of every run, their parts, and ratios."""
    folder = options.cache / "wall_clock"
    rows = [
        kept(folder / f"{name}.json", lambda name=name: beside(name, options))  # type: ignore[misc]
        for name in options.molecules
    ]
    return {"k": K, "base_fs": BASE_FS, "rows": rows}
