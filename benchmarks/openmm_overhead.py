"""Processor time of a jump in OpenMM beyond the jump itself.

Ethanol, and seven of them, held together by springs, a physics that costs next
to nothing and is not subtracted. What is left of a step once the time inside the jump and the
corrector is taken away: the program of the integrator, the calls of the PythonForce, conversions,
the cache of the potential. Direct jumps are those of an untrained network without increments, free
and with their X-H bonds fixed. And a whole step with a flow that returns at once what it returned
first: the same with warm processor caches. Processor time of the process, all threads, held on one
core (OpenMM's CPU platform hands over to a thread of its own at every evaluation, and waking it up
on a core that sleeps costs more than the evaluation); medians over blocks of jumps.

"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from ase import Atoms

from benchmarks.energy import thermalized
from benchmarks.suite import Options
from kstep_integrators import DirectJump, load_model
from kstep_integrators.jumps import make
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.openmm import KStepIntegrator, stages

BLOCKS, JUMPS = 10, 10
HYDROGEN = 1
BOND_NM = 0.12
"""Bonds with hydrogen are shorter."""


class Clock:
    """Seconds of the processor."""

    seconds = 0.0


INSIDE, NETWORK = Clock(), Clock()
"""In jumps and correctors; in networks of increments."""


def now() -> float:
    """Processor time of the process, once a GPU is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time()


class Timed:
    """Counts the time inside what it wraps."""

    def __init__(self, inner: Any, clock: Clock = INSIDE) -> None:
        self.inner, self.clock = inner, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = now()
        try:
            return call(*arguments)
        finally:
            self.clock.seconds += now() - began

    def __call__(self, *arguments: Any) -> Any:
        """A jump, a correction, or a network."""
        return self._timed(self.inner, *arguments)

    def begin(self, state: Any) -> Any:
        """The potential at a start."""
        return self._timed(self.inner.begin, state)


class TimedFlow(make.FlowJump):
    """A flow that counts its time."""

    def bind(self, state: Any) -> Any:
        """The flow of one set of atoms."""
        return Timed(super().bind(state))


class TimedDirect(DirectJump):
    """A direct jump that counts its time, and that of its network."""

    def bind(self, state: Any) -> Any:
        """The jump of one set of atoms."""
        if not isinstance(self.network, Timed):
            self.network = Timed(self.network, NETWORK)
        return Timed(super().bind(state))


class Memory(Timed):
    """A flow that is made once."""

    answer: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """The first answer."""
        if self.answer is None:
            self.answer = self.inner(*arguments)
        return self.answer


class RememberedFlow(make.FlowJump):
    """A flow that costs nothing."""

    def bind(self, state: Any) -> Any:
        """The flow of one set of atoms."""
        return Memory(super().bind(state))


def springs(atoms: Atoms, copies: int, fixed: bool = False) -> tuple[openmm.System, np.ndarray]:  # type: ignore[type-arg]
    """Harmonic bonds between neighbours; those with hydrogen of fixed length if wanted."""
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    places = []
    for copy in range(copies):
        first = system.getNumParticles()
        for mass in atoms.get_masses():
            system.addParticle(float(mass))
        for i in range(len(atoms)):
            for j in range(i):
                length = atoms.get_distance(i, j) / 10.0
                if fixed and length < BOND_NM and HYDROGEN in atoms.numbers[[i, j]]:
                    system.addConstraint(first + i, first + j, length)
                    continue
                stiffness = 200000.0 if length < 0.16 else 5000.0
                bonds.addBond(first + i, first + j, length, stiffness)
        places.append(atoms.positions / 10.0 + [1.0 * copy, 0.0, 0.0])
    system.addForce(bonds)
    return system, np.concatenate(places)


def direct_jump(folder: Path, fixed: bool) -> DirectJump:
    """A direct jump of ethanol whose network adds next to nothing, from a file."""
    torch.manual_seed(0)
    scales = [[[1e-9, 1e-9]] * 3]
    masses = [1.008, 12.011, 15.999]
    network = IncrementNetwork([1, 6, 8], [2], 0.5, "verlet", scales, masses, layers=4)
    path = folder / f"direct-{fixed}.safetensors"
    constraints = "HBonds" if fixed else "none"
    header = ModelHeader(
        "untrained", network.config, "none", constraints=constraints, kind="increments"
    )
    write_model(path, network, header)
    jump = load_model(path, device="auto" if torch.cuda.is_available() else "cpu")
    if not isinstance(jump, DirectJump):
        raise TypeError(f"a {type(jump).__name__} was read, expected a DirectJump")
    jump.__class__ = TimedDirect
    return jump


def flow(copies: int) -> Any:
    """The bundled network."""
    return load_model("organic-gfn2")


def measure(platform: str, model: Any, copies: int = 1, **settings: Any) -> dict[str, float]:
    """Microseconds per jump: all of it, inside jump and corrector, and the rest."""
    atoms, kind = thermalized("ethanol"), openmm.Platform.getPlatformByName(platform)
    direct = isinstance(model, DirectJump)
    fixed = direct and model.header.constraints == "HBonds"
    system, places = springs(atoms, copies, fixed)
    integrator = KStepIntegrator(system, model, **settings)
    context = openmm.Context(system, integrator, kind)
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(JUMPS)
    times: dict[str, list[float]] = {"jump_us": [], "inside": [], "network": []}
    for _ in range(BLOCKS):
        before, inside, network = now(), INSIDE.seconds, NETWORK.seconds
        integrator.step(JUMPS)
        times["jump_us"].append((now() - before) / JUMPS * 1e6)
        times["inside"].append((INSIDE.seconds - inside) / JUMPS * 1e6)
        times["network"].append((NETWORK.seconds - network) / JUMPS * 1e6)
    row = {
        "atoms": len(places),
        "k": integrator.getNumBaseSteps(),
        "jump_us": float(np.median(times["jump_us"])),
        "jump_and_corrector_us": float(np.median(times["inside"])),
        "rest_us": float(np.median(np.subtract(times["jump_us"], times["inside"]))),
        "fallbacks": integrator.stats.fallbacks,
    }
    if direct:
        row["network_us"] = float(np.median(times["network"]))
        beyond = np.subtract(times["jump_us"], times["network"])
        row["beyond_network_us"] = float(np.median(beyond))
    return row


def without_a_flow(platform: str) -> dict[str, float]:
    """Microseconds per step with a flow that costs nothing; the corrector is included."""
    make.FlowJump = RememberedFlow  # type: ignore[misc]
    system, places = springs(thermalized("ethanol"), 1)
    integrator = KStepIntegrator(system, load_model("organic-gfn2", device="cpu"), k=1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(places)
    integrator.step(JUMPS)
    times = []
    for _ in range(10 * BLOCKS):
        began = now()
        integrator.step(JUMPS)
        times.append((now() - began) / JUMPS * 1e6)
    return {"step_us": float(np.median(times)), "fastest_us": float(np.min(times))}


def openmm_overhead(options: Options) -> dict[str, Any]:
    """Microseconds per jump, platform by platform; CUDA where there is one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    kind = openmm.Platform
    names = {kind.getPlatform(i).getName() for i in range(kind.getNumPlatforms())}
    platforms = [name for name in ("Reference", "CPU", "CUDA") if name in names]
    load, rows = [os.getloadavg()], dict[str, Any]()
    for platform in platforms:
        rows[f"{platform}, no flow"] = without_a_flow(platform)
    make.FlowJump = TimedFlow  # type: ignore[misc]
    for code, corrector in list(stages.CORRECTORS_BY_CODE.items()):
        stages.CORRECTORS_BY_CODE[code] = Timed(corrector)
    bath = {"temperature": 300.0, "friction": 1.0}
    tested = {"corrector": "none", "metropolize": True, "extra_chances": 0, **bath}
    with tempfile.TemporaryDirectory() as folder:
        jumps = {fixed: direct_jump(Path(folder), fixed) for fixed in (False, True)}
        for platform in platforms:
            rows[f"{platform}, impulse"] = measure(platform, flow(1), k=8)
            rows[f"{platform}, impulse, Langevin"] = measure(platform, flow(1), k=8, **bath)
            rows[f"{platform}, none, Metropolized"] = measure(platform, flow(1), k=8, **tested)
            rows[f"{platform}, impulse, 63 atoms"] = measure(platform, flow(7), 7, k=1)
            rows[f"{platform}, direct"] = measure(platform, jumps[False], k=2)
            rows[f"{platform}, direct, X-H fixed"] = measure(platform, jumps[True], k=2)
    return {"load": [*load, os.getloadavg()], "rows": rows}
