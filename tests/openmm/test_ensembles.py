"""Heat bath and Metropolis test of KStepIntegrator: the canonical ensemble of the physics."""

import numpy as np
import openmm
import pytest
from openmm import unit

from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.systems import make_context, model

__all__ = ["model"]

KT = 300.0 * unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
BATH = {"temperature": 300.0, "friction": 1e6}


def tethered(stiffness):
    """Two hydrogens in wells, out of each other's reach: each coordinate has the energy kT/2."""
    system = openmm.System()
    well = openmm.CustomExternalForce("0.5*stiffness*(x^2+y^2+(z-z0)^2)")
    well.addGlobalParameter("stiffness", stiffness)
    well.addPerParticleParameter("z0")
    for z in (0.0, 0.7):
        well.addParticle(system.addParticle(1.008), [z])
    system.addForce(well)
    return system


def sample(model, jumps, seed, **settings):
    """Potential energies and squared velocities, kT."""
    system = tethered(20000.0)  # a period of 45 fs
    integrator = KStepIntegrator(system, model, k=1, **settings, **BATH)
    integrator.setRandomNumberSeed(seed)
    context = make_context(system, integrator)
    context.setPositions([[0.01, 0, 0], [0, 0.01, 0.7]])
    context.setVelocitiesToTemperature(300.0, 1)
    potential, squares = [], []
    for _ in range(jumps):
        integrator.step(1)
        potential.append(integrator.getGlobalVariableByName("kstep_potential") / KT)
        velocities = context.getState(getVelocities=True).getVelocities(asNumpy=True)
        speed = velocities.value_in_unit(unit.nanometer / unit.picosecond)
        squares.append(1.008 * np.square(speed) / KT)
    return integrator.stats, np.array(potential), np.array(squares)


def within(values, expected, independent):
    """Whether a mean is the expected one, by three standard errors."""
    return abs(values.mean() - expected) < 3.0 * values.std() / np.sqrt(independent)


@pytest.mark.parametrize(("corrector", "stride"), [("impulse", 0.011), ("none", 0.006)])
def test_metropolized_ensemble(model, corrector, stride):
    """The wells are no part of the model: its jumps are uniform motion, and the test pays."""
    jumps = 400
    settings = {"timestep": stride, "metropolize": True, "corrector": corrector}
    stats, potential, squares = sample(model, jumps, 1, extra_chances=1, **settings)
    # Velocities are drawn anew at each jump.
    assert within(potential, 3.0, jumps / 8)
    assert within(squares, 1.0, squares.size)
    assert stats.accepted + stats.flips == jumps
    assert 10 < stats.flips < 300
    assert stats.physics_evaluations > jumps + 10  # extra chances were taken


def test_without_the_test_it_is_another_ensemble(model):
    """The test above can fail: Verlet at this stride is far from canonical."""
    _, potential, _ = sample(model, 200, 1, timestep=0.011)
    assert not within(potential, 3.0, 200 / 8)


def test_langevin_temperature(model):
    stats, potential, squares = sample(model, 600, 2, timestep=0.002)
    assert within(squares, 1.0, squares.size)
    assert within(potential, 3.0, 600 / 40)
    assert stats.fallbacks == 0


def test_friction_slows_down(model):
    """Without wells, and at zero temperature, velocities fall by exp(-friction * time)."""
    system = tethered(0.0)
    integrator = KStepIntegrator(
        system, model, k=2, timestep=0.001, temperature=0.0, friction=3.0 / unit.picosecond
    )
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0, 0, 0.7]])
    context.setVelocities([[1, 2, 3], [-1, 0, 1]])
    integrator.step(5)
    velocities = context.getState(getVelocities=True).getVelocities(asNumpy=True)
    speed = velocities.value_in_unit(unit.nanometer / unit.picosecond)
    expected = np.exp(-3.0 * 0.01) * np.array([[1, 2, 3], [-1, 0, 1]])
    assert speed == pytest.approx(expected, rel=1e-12)


def test_noise_follows_the_seed(model):
    first, again, other = (sample(model, 3, seed, timestep=0.002)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
