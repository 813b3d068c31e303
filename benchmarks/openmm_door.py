"""What the door between OpenMM and a jump lets through, on every platform that is here.

    python -m benchmarks.openmm_door

A PythonForce sees positions and nothing else, so velocities are written into the positions, read by
the function, and positions put back, all within one step of a CustomIntegrator; answers come back
as forces. Here the function answers with what it was given. Worst differences of 200 particles:

- ``velocities``: what the function saw from what the Context held, relative;
- ``answers``: what the integrator read from what the function returned, relative;
- ``positions``: after the exchange from before, nm;
- ``forces``: of the platform after the exchange from those of a fresh Context, relative.

With cutoffs, in a periodic box (velocities far outside it), with constraints (which the program
does not apply), with a virtual site between the first two particles, and after 300 such steps, when
a GPU reorders particles. And a trajectory of 100 jumps of ethanol on springs from that of the
Reference platform, nm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm

from benchmarks.common import write_result
from benchmarks.openmm_overhead import springs
from benchmarks.starts import thermalized
from kstep_integrators import load_model
from kstep_integrators.openmm import KStepIntegrator

SYSTEMS: dict[str, dict[str, bool]] = {
    "cutoff": {},
    "periodic": {"periodic": True},
    "periodic, the function too": {"periodic": True, "told": True},
    "constraints": {"periodic": True, "constraints": True},
    "virtual site": {"site": True},
}


class Mirror:
    """Answers with what it is given."""

    def __init__(self) -> None:
        self.seen = np.zeros((0, 3))

    def __call__(self, state: openmm.State) -> tuple[float, Any]:
        """Energy 0, and the positions as forces."""
        if state.getParameters()["stage"] < 1:
            return 0.0, np.zeros((len(state.getPositions(asNumpy=True)), 3))
        self.seen = np.array(state.getPositions(asNumpy=True)._value)  # noqa: SLF001
        return 0.0, self.seen


def charges(
    mirror: Mirror,
    periodic: bool = False,
    told: bool = False,
    constraints: bool = False,
    site: bool = False,
) -> tuple[openmm.System, Any, Any]:
    """Particles with charges near a lattice: a system, positions and velocities."""
    rng, count = np.random.default_rng(0), 200
    system, pairs = openmm.System(), openmm.NonbondedForce()
    lattice = np.array([[a, b, c] for a in range(6) for b in range(6) for c in range(6)])
    places = 0.41 * lattice[:count] + rng.normal(0.0, 0.01, (count, 3))
    for i in range(count):
        system.addParticle(16.0)
        pairs.addParticle(0.1 * (-1) ** i, 0.3, 0.5)
    if site:
        system.addParticle(0.0)
        pairs.addParticle(0.0, 0.3, 0.0)
        system.setVirtualSite(count, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
        places = np.vstack([places, 0.5 * (places[0] + places[1])])
    kind = openmm.NonbondedForce
    pairs.setNonbondedMethod(kind.PME if periodic else kind.CutoffNonPeriodic)
    pairs.setCutoffDistance(0.9)
    system.addForce(pairs)
    system.setDefaultPeriodicBoxVectors([2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5])
    for i in range(0, count if constraints else 0, 2):
        system.addConstraint(i, i + 1, 0.4)
    force = openmm.PythonForce(mirror, {"stage": 0.0})
    force.setForceGroup(31)
    force.setUsesPeriodicBoundaryConditions(told)
    system.addForce(force)
    return system, places, rng.normal(0.0, 30.0, places.shape)


def exchange() -> openmm.CustomIntegrator:
    """A step that does nothing but tell the function the velocities, and listen."""
    integrator = openmm.CustomIntegrator(0.001)
    integrator.setIntegrationForceGroups(set(range(31)))
    for name in ("start", "answer", "force"):
        integrator.addPerDofVariable(name, 0.0)
    integrator.addComputePerDof("start", "x")
    integrator.addComputePerDof("x", "v")
    integrator.addComputeGlobal("stage", "1")
    integrator.addComputePerDof("answer", "f31")
    integrator.addComputePerDof("x", "start")
    integrator.addComputeGlobal("stage", "0")
    integrator.addComputePerDof("force", "f")
    return integrator


def array(vectors: Any) -> Any:
    """(N, 3) from what OpenMM returns."""
    return np.array([[v[0], v[1], v[2]] for v in vectors])


def through_the_door(platform: openmm.Platform, steps: int, **kind: bool) -> dict[str, float]:
    """Worst differences."""
    mirror, integrator = Mirror(), exchange()
    system, places, speeds = charges(mirror, **kind)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(places + np.array([5.0, 0.0, 0.0]))
    context.setVelocities(speeds)

    def held() -> Any:
        state = context.getState(positions=True, velocities=True)
        return (
            array(state.getPositions(asNumpy=True)._value),  # noqa: SLF001
            array(state.getVelocities(asNumpy=True)._value),  # noqa: SLF001
        )

    before, velocities = held()
    integrator.step(steps)
    after, _ = held()
    fresh = openmm.Context(charges(mirror, **kind)[0], openmm.VerletIntegrator(0.001), platform)
    fresh.setPositions(after)
    forces = array(fresh.getState(forces=True, groups={0}).getForces(asNumpy=True)._value)  # noqa: SLF001
    real = slice(0, 200)
    scale = np.abs(velocities[real]).max()

    def worst(a: Any, b: Any, unit: float) -> float:
        return float(np.abs(a[real] - b[real]).max() / unit)

    return {
        "velocities": worst(mirror.seen, velocities, scale),
        "answers": worst(array(integrator.getPerDofVariableByName("answer")), mirror.seen, scale),
        "positions": worst(after, before, 1.0),
        "forces": worst(
            array(integrator.getPerDofVariableByName("force")), forces, np.abs(forces).max()
        ),
    }


def trajectory(platform: openmm.Platform) -> Any:
    """Ethanol after 100 jumps, nm."""
    system, places = springs(thermalized("ethanol"), 1)
    integrator = KStepIntegrator(system, load_model("organic-gfn2", device="cpu"), k=2)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(places)
    context.setVelocities(np.random.default_rng(1).normal(0.0, 0.4, places.shape))
    integrator.step(100)
    return array(context.getState(positions=True).getPositions(asNumpy=True)._value)  # noqa: SLF001


def main() -> None:
    """Measure and write."""
    kind = openmm.Platform
    platforms = [kind.getPlatform(i) for i in range(kind.getNumPlatforms())]
    result: dict[str, Any] = {"what": __doc__, "openmm": openmm.version.version}
    reference = trajectory(kind.getPlatformByName("Reference"))
    for platform in platforms:
        rows: dict[str, Any] = {
            name: through_the_door(platform, 2, **kind) for name, kind in SYSTEMS.items()
        }
        rows["cutoff, 300 steps"] = through_the_door(platform, 300)
        rows["trajectory_nm"] = float(np.abs(trajectory(platform) - reference).max())
        result[platform.getName()] = rows
        print(platform.getName(), rows)
    write_result("openmm_door", result)


if __name__ == "__main__":
    main()
