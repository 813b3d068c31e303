"""Kinetic energies of every scheme in OpenMM: Gamma(degrees / 2) in kT; noise follows its seed."""

import math

import numpy as np
import openmm
import pytest

from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.bodies import body, ethanol, motions, nothing
from tests.openmm.direct_jumps import make
from tests.openmm.systems import make_context, model, moving, where

__all__ = ["make", "model", "nothing"]

BATH = {"temperature": 300.0, "friction": 150.0}


def run(system, places, jump, seed=7, **settings):
    """A Context that has forgotten its start."""
    integrator = KStepIntegrator(system, jump, **BATH, **settings)
    integrator.setRandomNumberSeed(seed)
    context = make_context(system, integrator)
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(40)
    return context, integrator


def sample(context, integrator, frames, every, copies):
    """Kinetic energies of all bodies, kT."""
    system = context.getSystem()
    masses = [system.getParticleMass(n)._value for n in range(system.getNumParticles() // copies)]
    energies = []
    for _ in range(frames):
        integrator.step(every)
        x, v = (array(context).reshape(copies, -1, 3) for array in (where, moving))
        energies.append(0.5 * motions(masses, x, v)[3].sum(1))
    return np.array(energies)


def check(energies, degrees):
    """Mean and variance at three sigma."""
    shape, count = 0.5 * degrees, energies.size
    assert abs(energies.mean() - shape) < 3.0 * math.sqrt(shape / count)
    # The kurtosis of Gamma(a) is 3 + 6 / a.
    width = shape * math.sqrt((2.0 + 6.0 / shape) / count)
    assert abs(energies.var() - shape) < 3.0 * width


@pytest.mark.parametrize(
    ("name", "settings", "degrees"),
    [
        ("methyl", {}, 9),
        ("chain", {}, 9),
        ("rigid water", {"corrector": "none"}, 6),
        ("rigid water", {"k": 4, "timestep": 0.0005}, 6),
        ("loose water", {}, 9),
    ],
)
def test_bodies_side_by_side(nothing, name, settings, degrees):
    copies = 60
    system, places = body(name, copies, stiffness=20000.0)
    settings = {"k": 1, "timestep": 0.002, **settings}
    context, integrator = run(system, places, nothing, **settings)
    check(sample(context, integrator, 6, 10, copies), degrees)
    assert integrator.stats.fallbacks == 0


def test_filtered_kicks(nothing):
    copies = 3
    system, places = body("loose water", copies, stiffness=20000.0)
    settings = {"k": 1, "timestep": 0.002, "corrector": "filtered"}
    context, integrator = run(system, places, nothing, **settings)
    check(sample(context, integrator, 15, 6, copies), 9)


@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_metropolized(nothing, corrector):
    system, places = body("loose water", 1, stiffness=20000.0)
    context, integrator = run(
        system, places, nothing, k=1, timestep=0.003, metropolize=True, corrector=corrector
    )
    check(sample(context, integrator, 250, 4, 1), 9)
    assert 0 < integrator.stats.flips < integrator.stats.jumps / 2


def test_direct_jumps(make):
    """Increments of nothing: velocity Verlet at the stride."""
    system, places = ethanol()
    context, integrator = run(system, places, make(constraints="HBonds", size=1e-9), k=2)
    check(sample(context, integrator, 150, 8, 1), 27 - 6)
    assert integrator.stats.fallbacks == 0


def test_a_missing_degree_of_freedom_is_seen(nothing):
    """The check can fail."""
    system, places = body("rigid water", 60)
    context, integrator = run(system, places, nothing, k=1, timestep=0.002)
    energies = sample(context, integrator, 24, 10, 60)
    check(energies, 6)
    for degrees in (5, 7):
        with pytest.raises(AssertionError):
            check(energies, degrees)


def test_noise_beside_constraints_follows_its_seed(model):
    def path(seed):
        return where(run(*ethanol(), model, seed=seed, k=2)[0])

    first, again, other = path(3), path(3), path(4)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_the_physics_is_what_the_integration_force_groups_say(model):
    """Forces in a group that is left out do not act, as with any integrator of OpenMM."""

    def path(extra, groups):
        system, places = ethanol()
        if extra:
            pull = openmm.CustomExternalForce("1000*x")
            for n in range(system.getNumParticles()):
                pull.addParticle(n)
            pull.setForceGroup(3)
            system.addForce(pull)
        integrator = KStepIntegrator(system, model, k=2)
        if groups is not None:
            integrator.setIntegrationForceGroups(groups)
        context = make_context(system, integrator)
        context.setPositions(places)
        integrator.step(3)
        return where(context)

    without = path(extra=False, groups=None)
    np.testing.assert_allclose(path(extra=True, groups={0}), without, atol=1e-14)
    assert np.abs(path(extra=True, groups=None) - without).max() > 1e-5
