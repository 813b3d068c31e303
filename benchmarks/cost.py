"""Cost of corrections, of replicas, and of a step of many atoms.

``correctors_cost``: k = 8 steps of 0.5 fs and one correction, Hessians included, on the GPU where
there is one; processor seconds otherwise, so that other work on the machine counts less.

``ensemble``: replicas of ethanol at GFN2, jumps of four base steps of 0.5 fs on the compiled
bundled network; wall-clock seconds of jumps and of physics, over strides and replicas, after three
strides that are not timed. Runs of all kinds are cut into blocks and taken in turns.

``system_size``: everything but the forces, which are those of springs to fixed places.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.constraints import FixBondLengths
from ase.md.velocitydistribution import thermalize_momenta

from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, Ensemble, FlowJump, KStepDynamics
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.jumps.load import load_model
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.state import Evaluation, PhaseState

FS = units.fs
K = 8
WARM_UP = 3
BLOCKS = 4
SIZES = (2000, 5000, 20000)
KINDS = ((1, 1), (4, 1), (16, 1), (16, 2))
"""Replicas, workers."""


def backends(device: str) -> list[str]:
    """The reference, and what is taken by default."""
    return list(dict.fromkeys(("eager", load_model("organic-gfn2", device=device).backend)))


def displaced(name: str, many: int) -> PhaseState:
    """A molecule many times, each displaced by 0.03 A."""
    one = state_from_atoms(named_molecule(name))
    n = len(one.numbers)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(many * n, 3, dtype=torch.float64, generator=generator)
    x = one.positions.repeat(many, 1) + 0.03 * noise
    batch = torch.arange(many).repeat_interleave(n)
    return make_state(one.numbers.repeat(many), one.masses.repeat(many, 1), x, 0.0 * x, batch=batch)


def corrector_milliseconds(name: str, many: int, backend: str, device: str) -> dict[str, Any]:
    """Milliseconds of a jump and its correction."""
    state = displaced(name, many).to(torch.device(device))
    model = load_model("organic-gfn2", device=device, backend=backend)
    jump = FlowJump(model, 0.5 * FS).bind(state)
    inner = jump.begin(state)
    physics = Evaluation(torch.zeros(many).double(), inner.require_forces() + 0.1)
    row: dict[str, Any] = {"molecule": name, "atoms": len(state.numbers) // many}
    row |= {"replicas": many, "backend": backend, "device": device}
    for method in ("none", "impulse", "filtered"):
        corrector = CORRECTORS[method]()

        def stride() -> None:
            landed, info = jump(state, physics, inner, K)
            corrector(landed, physics, info.end, K * 0.5 * FS, jump)  # noqa: B023
            if device != "cpu":
                torch.cuda.synchronize()

        began = time.perf_counter()
        stride()
        row[f"{method}_first_call_seconds"] = time.perf_counter() - began
        clock = time.process_time if device == "cpu" else time.perf_counter
        times = []
        for _ in range(15):
            before = clock()
            stride()
            times.append(clock() - before)
        row[f"{method}_ms"] = 1e3 * float(np.median(times))
    return row


def correctors_cost(options: Options) -> dict[str, Any]:
    """Milliseconds of jumps and their corrections by each backend."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = [
        corrector_milliseconds(name, many, backend, device)
        for name, many in (("ethanol", 1), ("ethanol", 10), ("cyclohexane", 1))
        for backend in backends(device)
    ]
    return {"k": K, "rows": rows}


@dataclass(frozen=True)
class EnsembleOptions(Options):
    """Length of the runs."""

    strides: int = option(60, "of each kind, in four blocks")

    @classmethod
    def smoke(cls, cache: Path) -> EnsembleOptions:
        """One stride in each block."""
        return cls(cache, 4)


def gfn2(atoms: Atoms) -> Calculator:
    """The physics of a replica."""
    return xtb_calculator("GFN2-xTB")


def _replicas(count: int) -> list[Atoms]:
    """Ethanol at its minimum, with momenta of 300 K."""
    made = [named_molecule("ethanol") for _ in range(count)]
    for seed, atoms in enumerate(made):
        thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(seed))
    return made


def ensemble(options: EnsembleOptions) -> dict[str, Any]:
    """Milliseconds per replica and stride: medians over blocks, with the blocks themselves.

    Processor time is that of the main process: jumps, physics and all else for one worker, all but
    the physics for more.
    """
    model = load_model("organic-gfn2", device="cpu")
    ensembles = {}
    for count, workers in KINDS:
        ensembles[count, workers] = Ensemble(
            _replicas(count), model, gfn2, k=4, timestep=0.5 * units.fs, workers=workers
        )
        ensembles[count, workers].run(WARM_UP)
    load_before = os.getloadavg()[0]
    blocks: dict[tuple[int, int], list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    strides = options.strides // BLOCKS
    for _ in range(BLOCKS):
        for (count, workers), each in ensembles.items():
            before, cpu = each.result(), time.process_time()
            each.run(strides)
            spent, after = time.process_time() - cpu, each.result()
            times = (after.jump_seconds - before.jump_seconds,
                     after.physics_seconds - before.physics_seconds, spent)  # fmt: skip
            blocks[count, workers].append(tuple(1e3 * t / (strides * count) for t in times))
    rows: list[dict[str, Any]] = []
    for (count, workers), each in ensembles.items():
        result = each.result()
        each.close()
        columns = zip(*blocks[count, workers], strict=True)
        row: dict[str, Any] = {"replicas": count, "workers": workers}
        for name, values in zip(("jump_ms", "physics_ms", "cpu_ms"), columns, strict=True):
            process = "main_process_" if name == "cpu_ms" else ""
            row[f"{process}{name}_per_replica_stride"] = statistics.median(values)
            row[f"{name}_blocks"] = list(values)
        row |= {"evaluations": result.physics_evaluations, "failures": len(result.failures)}
        rows.append(row)
    return {"strides": options.strides, "load": [load_before, os.getloadavg()[0]], "rows": rows}


class Springs(Calculator):
    """Atoms on springs to fixed places, eV/A^2."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        """Energy and forces."""
        away, strength = atoms.positions - self.parameters["places"], self.parameters["strength"]
        energy = 0.5 * strength * float((away**2).sum())
        self.results = {"energy": energy, "forces": -strength * away}


def _water(size: int) -> Atoms:
    """Rigid molecules, wrapped into their box."""
    side = round((size / 3) ** (1 / 3))
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], cell=[3.1] * 3, pbc=True)
    atoms = water * ([side] * 3)
    first = np.repeat(np.arange(0, len(atoms), 3), 3)[:, None]
    atoms.set_constraint(FixBondLengths(first + np.tile([[0, 1], [0, 2], [1, 2]], (side**3, 1))))
    atoms.set_positions(atoms.get_positions(wrap=True), apply_constraint=False)
    return atoms


def _chain(size: int) -> Atoms:
    i = np.arange(size)
    atoms = Atoms(f"C{size}", np.stack([1.3 * i, 0.7 * (i % 2), 0.0 * i], axis=1))
    atoms.set_constraint(FixBondLengths(np.stack([i[:-1], i[1:]], axis=1)))
    return atoms


BATH = {"temperature_K": 300.0, "friction": 0.01 / FS}
FILES = {"trajectory": "a.traj", "logfile": "a.log", "checkpoint": "a", "checkpoint_interval": 1}
SYSTEMS: dict[str, tuple[Callable[[int], Atoms], dict[str, Any]]] = {
    "crystal": (lambda size: bulk("Cu", cubic=True) * ([round((size / 4) ** (1 / 3))] * 3), {}),
    "rigid water, wrapped, Langevin": (_water, BATH),
    "rigid water, wrapped, all files at each step": (_water, FILES),
    "chain, all bonds fixed": (_chain, {}),
}


def system_size(options: Options) -> dict[str, Any]:
    """Milliseconds of processor time of the first step and of later ones."""
    rows, rng = [], np.random.default_rng(0)
    for (name, (make, settings)), size in itertools.product(SYSTEMS.items(), SIZES):
        atoms = make(size)
        speed = np.sqrt(300 * units.kB * atoms.get_masses()[:, None])
        atoms.set_momenta(speed * rng.normal(size=(len(atoms), 3)), apply_constraint=False)
        physics, cheap = (Springs(places=atoms.get_positions(), strength=k) for k in (2.0, 1.9))
        atoms.calc, times = physics, [time.process_time()]
        with tempfile.TemporaryDirectory() as folder:
            files = {k: f"{folder}/{v}" if isinstance(v, str) else v for k, v in settings.items()}
            run = KStepDynamics(atoms, CalculatorPotential(cheap), k=2, timestep=0.5 * FS, **files)
            for _ in range(6):
                run.run(1)
                times.append(time.process_time())
        first, *others = (1e3 * np.diff(times)).tolist()
        row = {"first_ms": first, "step_ms": statistics.median(others)}
        rows.append({"system": name, "atoms": len(atoms), **row})
    return {"rows": rows}
