"""Time of a jump in OpenMM beyond the jump itself, on one CPU core.

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python -m benchmarks.openmm_overhead

Ethanol, and seven of them, held together by springs: a physics that costs next to nothing, which
is not subtracted. What is left of a step once the time inside the flow and the corrector is taken
away: the program of the integrator, the calls of the PythonForce, conversions, the cache of the
potential. And a whole step with a flow that returns at once what it returned first: the same with
warm processor caches. Processor time of the process, all threads; medians over blocks of jumps.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENMM_CPU_THREADS", "1")

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import torch
from ase import Atoms

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import load_model
from kstep_integrators.openmm import KStepIntegrator, force, source

BLOCKS, JUMPS = 10, 10


class Timed:
    """Counts the time inside what it wraps."""

    seconds = 0.0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        try:
            return call(*arguments)
        finally:
            Timed.seconds += time.process_time() - began

    def __call__(self, *arguments: Any) -> Any:
        """A jump, or a correction."""
        return self._timed(self.inner, *arguments)

    def begin(self, state: Any) -> Any:
        """The potential at a start."""
        return self._timed(self.inner.begin, state)


class TimedFlow(source.FlowJump):
    """A flow that counts its time."""

    def bind(self, state: Any) -> Any:
        """The flow of one set of atoms."""
        return Timed(super().bind(state))


class Memory(Timed):
    """A flow that is made once."""

    answer: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """The first answer."""
        if self.answer is None:
            self.answer = self.inner(*arguments)
        return self.answer


class RememberedFlow(source.FlowJump):
    """A flow that costs nothing."""

    def bind(self, state: Any) -> Any:
        """The flow of one set of atoms."""
        return Memory(super().bind(state))


def springs(atoms: Atoms, copies: int) -> tuple[openmm.System, np.ndarray]:  # type: ignore[type-arg]
    """Harmonic bonds between neighbours."""
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    places = []
    for copy in range(copies):
        first = system.getNumParticles()
        for mass in atoms.get_masses():
            system.addParticle(float(mass))
        for i in range(len(atoms)):
            for j in range(i):
                length = atoms.get_distance(i, j) / 10.0
                stiffness = 200000.0 if length < 0.16 else 5000.0
                bonds.addBond(first + i, first + j, length, stiffness)
        places.append(atoms.positions / 10.0 + [1.0 * copy, 0.0, 0.0])
    system.addForce(bonds)
    return system, np.concatenate(places)


def measure(copies: int, platform: str, k: int = 8, **settings: Any) -> dict[str, float]:
    """Microseconds per jump: all of it, inside flow and corrector, and the rest."""
    atoms = thermalized("ethanol")
    system, places = springs(atoms, copies)
    model = load_model("organic-gfn2", device="cpu", compile=copies == 1)
    integrator = KStepIntegrator(system, model, k=k, **settings)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(JUMPS)
    whole, inside = [], []
    for _ in range(BLOCKS):
        before, began = Timed.seconds, time.process_time()
        integrator.step(JUMPS)
        whole.append((time.process_time() - began) / JUMPS * 1e6)
        inside.append((Timed.seconds - before) / JUMPS * 1e6)
    row = {
        "atoms": len(places),
        "k": k,
        "jump_us": float(np.median(whole)),
        "flow_and_corrector_us": float(np.median(inside)),
        "rest_us": float(np.median(np.subtract(whole, inside))),
    }
    verlet = openmm.Context(
        springs(atoms, copies)[0],
        openmm.VerletIntegrator(0.0005),
        openmm.Platform.getPlatformByName(platform),
    )
    verlet.setPositions(places)
    verlet.getIntegrator().step(100)
    began = time.process_time()
    verlet.getIntegrator().step(2000)
    row["step_of_openmm_verlet_us"] = (time.process_time() - began) / 2000 * 1e6
    began = time.process_time()
    for _ in range(200):
        context.getState(getEnergy=True)
    row["energy_report_us"] = (time.process_time() - began) / 200 * 1e6
    print(platform, settings, row)
    return row


def without_a_flow(platform: str) -> dict[str, float]:
    """Microseconds per step with a flow that costs nothing; the corrector is included."""
    source.FlowJump = RememberedFlow  # type: ignore[misc]
    system, places = springs(thermalized("ethanol"), 1)
    integrator = KStepIntegrator(system, load_model("organic-gfn2", device="cpu"), k=1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(places)
    integrator.step(JUMPS)
    times = []
    for _ in range(10 * BLOCKS):
        began = time.process_time()
        integrator.step(JUMPS)
        times.append((time.process_time() - began) / JUMPS * 1e6)
    row = {"step_us": float(np.median(times)), "fastest_us": float(np.min(times))}
    print(platform, row)
    return row


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for platform in ("Reference", "CPU"):
        rows[f"{platform}, no flow"] = without_a_flow(platform)
    source.FlowJump = TimedFlow  # type: ignore[misc]
    for code, corrector in list(force.CORRECTORS_BY_CODE.items()):
        force.CORRECTORS_BY_CODE[code] = Timed(corrector)
    bath = {"temperature": 300.0, "friction": 1.0}
    for platform in ("Reference", "CPU"):
        rows[f"{platform}, impulse"] = measure(1, platform)
        rows[f"{platform}, impulse, Langevin"] = measure(1, platform, **bath)
        rows[f"{platform}, none, Metropolized"] = measure(
            1, platform, corrector="none", metropolize=True, extra_chances=0, **bath
        )
        rows[f"{platform}, impulse, 63 atoms"] = measure(7, platform, k=1)
    write_result("openmm_overhead", {"what": __doc__, "rows": rows})


if __name__ == "__main__":
    main()
