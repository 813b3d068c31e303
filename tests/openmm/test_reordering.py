"""Cells on a GPU platform, which reorders particles and wraps molecules when it likes.

OpenCL runs without a GPU where Debian's pocl is installed. It compiles once for each program and
precision, many seconds; all that is asked of one is asked in one Context.
"""

from typing import Any

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from openmm import unit

from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.units import NM, NM_PER_PS
from tests.openmm.cells import BASE, CUBE, SLANTED, cheap, copper, images, pairs, system_of
from tests.openmm.systems import moving, require_platform, where

pytestmark = pytest.mark.slow
DRIFT = np.array([3.0, -1.5, 0.8])  # nm/ps
EVERY = 250
"""Steps after which OpenMM 8.6 sorts particles anew, and wraps them."""
KJ = unit.kilojoule_per_mole


class Seen(EMT):
    """EMT that notes how far from the origin it has seen atoms, angstrom."""

    far = 0.0

    def calculate(self, atoms=None, properties=(), system_changes=()):
        self.far = max(self.far, float(np.abs(atoms.positions).max()))
        super().calculate(atoms, properties, system_changes)


def drifting(
    atoms: Atoms, precision: str = "", barostat: openmm.Force | None = None, **settings: Any
) -> tuple[Seen, KStepIntegrator, openmm.Context]:
    """Copper under EMT and a force with a cutoff, on OpenCL or, without precision, Reference."""
    calculator = Seen()
    system, _ = system_of(atoms, calculator)
    system.addForce(pairs())
    if barostat is not None:
        system.addForce(barostat)
    integrator = KStepIntegrator(system, cheap(), k=2, timestep=BASE, **settings)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatform("OpenCL" if precision else "Reference")
    context = openmm.Context(
        system, integrator, platform, {"Precision": precision} if precision else {}
    )
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS + DRIFT)
    return calculator, integrator, context


def apart(context, other, box=SLANTED):
    """Largest distance of particles, images left out, in box vectors."""
    vectors = images(where(context), where(other), box)
    return np.abs(vectors - np.rint(vectors)).max()


@pytest.mark.parametrize(("precision", "rounding"), [("mixed", 2e-6), ("single", 2e-5)])
def test_wrapped_and_reordered(precision, rounding):
    """The path is that of Reference, where nothing is wrapped; a wrap costs an evaluation."""
    require_platform("OpenCL")
    far = copper(SLANTED)
    far.positions += np.random.default_rng(1).integers(-3, 4, (32, 3)) @ SLANTED * NM
    calculator, integrator, context = drifting(far, precision)
    _, plain, other = drifting(copper(SLANTED))

    def step(count):
        before = integrator.stats.physics_evaluations
        integrator.step(count)
        plain.step(count)
        return integrator.stats.physics_evaluations - before - count

    assert step(40) == 1
    assert apart(context, other) < rounding
    assert np.rint(images(where(context), where(other), SLANTED)).any(1).sum() > 25
    # Wrapped by somebody else.
    wrapped = context.getState(positions=True, enforcePeriodicBox=True)
    context.setPositions(wrapped.getPositions(asNumpy=True))
    assert step(20) == 1
    assert apart(context, other) < 3 * rounding
    # Wrapped by the platform: it says so to nobody but forces that know the box.
    assert step(EVERY) == 1
    calculator.far = 0.0
    assert step(5) == 0
    assert np.abs(where(context)).max() * NM > 2.0 * calculator.far
    assert apart(context, other) < 100 * rounding
    energies = [each.getLandingEnergy() / KJ for each in (integrator, plain)]
    assert abs(energies[0] - energies[1]) < 2.5e4 * rounding
    # Another box, which finds particles in the images that they are in; and a restart in it.
    wrapped = context.getState(positions=True, velocities=True, enforcePeriodicBox=True)
    for each in (context, other):
        each.setPeriodicBoxVectors(*CUBE)
        each.setPositions(wrapped.getPositions(asNumpy=True))
        each.setVelocities(wrapped.getVelocities(asNumpy=True))
    assert step(5) == 1
    assert apart(context, other, CUBE) < rounding
    saved = context.createCheckpoint()
    integrator.step(3)
    end = where(context)
    context.loadCheckpoint(saved)
    integrator.step(3)
    assert np.abs(where(context) - end).max() < 1e-5
    assert integrator.stats.fallbacks == integrator.stats.bond_changes == 0


def test_a_barostat_there():
    """Its moves are noticed, and the energy that is kept is that of where the particles are."""
    require_platform("OpenCL")
    barostat = openmm.MonteCarloBarostat(1.0, 600.0, 2)
    _, integrator, context = drifting(
        copper(SLANTED), "mixed", barostat, temperature=600.0, friction=5.0
    )
    volumes = [context.getState().getPeriodicBoxVolume()._value]
    for _ in range(40):
        integrator.step(1)
        volumes.append(context.getState().getPeriodicBoxVolume()._value)
    accepted = int((np.diff(volumes) != 0.0).sum())
    assert 3 < accepted <= 20
    assert integrator.stats.physics_evaluations == 41 + accepted
    energy = context.getState(energy=True).getPotentialEnergy()
    assert abs(energy - integrator.getLandingEnergy()) / KJ < 0.05
    assert integrator.stats.fallbacks == 0
    assert np.abs(moving(context)).max() < 50.0
