"""Processor and wall-clock time of runs under GFN2, everything included, by the plain call.

k-step dynamics at strides of 8 x 0.5 fs, r-RESPA with GFN-FF inside at the same, and ASE's velocity
Verlet at 0.5 and 1 fs, all without outputs, at constant energy from the same start at 300 K.
They advance in turns in one process, a segment at a time, so that whatever else the machine does
falls on all of them; figures are medians over segments, ratios those of the same segments. The
parts of a stride are seconds of the processor: physics, the jump with its corrections, the rest.

``mollified_cost`` sets the parts of strides with averaged kicks beside one another, and whole
strides: all in turns, seconds of the processor.
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

from benchmarks.kernel import MODEL, Native, bound_force, gfn2, in_turns, levels, system
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, FlowJump, KStepDynamics, load_model
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import Mollified
from kstep_integrators.step.guard import DynamicsFailed

__all__ = ["NetworkCalculator", "mollified_cost", "wall_clock"]

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


def _flow(potential: Any, atoms: Atoms, k: int) -> Callable[[], None]:
    """A flow of k steps from where the last one landed; no physics."""
    state = state_from_atoms(atoms)
    jump = FlowJump(potential, BASE_FS * units.fs).bind(state)
    at: list[Any] = [state, jump.begin(state)]

    def go() -> None:
        at[0], info = jump(at[0], at[1], at[1], k)
        at[1] = info.end

    return go


def _averaging(potential: Any, atoms: Atoms, stride: float) -> dict[str, Callable[[], Any]]:
    """The average, with the potential there, and the pull back of a force."""
    state = state_from_atoms(atoms)
    jump = FlowJump(potential, BASE_FS * units.fs).bind(state)
    inner, window = jump.begin(state), Mollified().window(stride)
    if inner is None:
        raise TypeError(f"a flow on {potential!r} has no potential")
    aim, forces = jump.averaged(state, inner, window), inner.require_forces()
    return {
        "average": lambda: jump.averaged(state, inner, window),
        "pull back": lambda: aim.pull_back(forces),
    }


def parts_of(name: str, rounds: int) -> dict[str, Any]:
    """Processor time of every part of a stride of one molecule, and of whole strides."""
    atoms, (library, *_) = start(name), levels().values()
    potential = load_model(MODEL, device="cpu")
    native = Native(atoms, library, torch.float64)
    ways: dict[str, Callable[[], Any]] = {"force": bound_force(potential, atoms)}
    ways["gfn2"] = gfn2(atoms, native)
    for k in (8, 16):
        fs = k * BASE_FS
        ways[f"flow {fs:g}"] = _flow(potential, atoms, k)
        parts = _averaging(potential, atoms, fs * units.fs)
        ways |= {f"{part} {fs:g}": call for part, call in parts.items()}
    for corrector, k in (("impulse", 8), ("mollified", 8), ("mollified", 16)):
        copy = atoms.copy()
        copy.calc = xtb_calculator("GFN2-xTB")
        dynamics = KStepDynamics(
            copy, potential, k=k, timestep=BASE_FS * units.fs, corrector=corrector
        )
        ways[f"{corrector} {k * BASE_FS:g}"] = lambda dynamics=dynamics: dynamics.run(1)  # type: ignore[misc]
    for call in ways.values():
        call()
    made = in_turns(ways, rounds, "force", time.process_time)
    us = {way: one["us"] for way, one in made.items()}
    # The gradient from which on 8 fs with one of them take no longer than 2 x 4 fs with two.
    more = (us["mollified 8"] - us["gfn2"]) - 2 * (us["impulse 4"] - us["gfn2"])
    return {
        "molecule": name, "atoms": len(atoms), "ways": made, "break_even_ms": 1e-3 * more,
        "break_even_forces": more / us["force"], "break_even_gfn2": more / us["gfn2"],
        "impulse_4_over_mollified_8": 2 * us["impulse 4"] / us["mollified 8"],
    }  # fmt: skip


@dataclass(frozen=True)
class MollifiedCostOptions(Options):
    """Molecules and rounds."""

    molecules: tuple[str, ...] = option(tuple(LENGTHS_FS), "some of them")
    rounds: int = option(7, "in which all take turns")

    @classmethod
    def smoke(cls, cache: Path) -> MollifiedCostOptions:
        """Ethanol, once."""
        return cls(cache, ("ethanol",), 1)


def mollified_cost(options: MollifiedCostOptions) -> dict[str, Any]:
    """Flow, average, pull back and GFN2 at 4 and 8 fs, and the gradient that 8 fs pay from."""
    rows = [
        kept(
            options.cache / "mollified_cost" / f"{name}.json",
            lambda name=name: parts_of(name, options.rounds),  # type: ignore[misc]
        )
        for name in options.molecules
    ]
    return {"base_fs": BASE_FS, "rows": rows}
