"""A network of all particles of a periodic System: in cells smaller than its cutoff, too."""

import numpy as np
import openmm
import pytest
import torch
from ase.calculators.lj import LennardJones

from kstep_integrators import KStepDynamics, load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.units import FS, NM, NM_PER_PS
from tests.conftest import hot, network
from tests.openmm.cells import images, system_of
from tests.openmm.systems import make_context, moving, where

BOX = np.array([[0.52, 0.0, 0.0], [0.12, 0.55, 0.0], [-0.2, 0.15, 0.5]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    built = network()
    path = tmp_path_factory.mktemp("models") / "in-cells.safetensors"
    write_model(path, built, ModelHeader("in-cells", built.config, "none", periodic=True))
    return load_model(path, device="cpu", dtype=torch.float64)


def springs():
    return LennardJones(sigma=1.0, epsilon=0.02, rc=4.0, smooth=True)


def methanol():
    atoms = hot("methanol")
    atoms.set_cell(BOX * NM)
    atoms.pbc = True
    return atoms


def started(model, atoms, barostat=None, **settings):
    system, physics = system_of(atoms, springs())
    if barostat is not None:
        system.addForce(barostat)
    integrator = KStepIntegrator(system, model, k=2, timestep=0.0005, **settings)
    integrator.setRandomNumberSeed(4)
    context = make_context(system, integrator)
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    return physics, integrator, context


def test_trajectory_of_a_network(model):
    """The path of ASE; far images, and a box that changes, make no difference."""
    atoms = methanol()
    physics, integrator, context = started(model, atoms)
    far = atoms.copy()
    far.positions += np.random.default_rng(0).integers(-2, 3, (6, 3)) @ BOX * NM
    _, others, away = started(model, far)
    integrator.step(10)
    others.step(10)
    atoms.calc = springs()
    dynamics = KStepDynamics(atoms, model, k=2, timestep=0.5 * FS)
    dynamics.run(10)
    assert np.abs(where(context) - atoms.positions / NM).max() < 1e-9
    apart = images(where(away), where(context), BOX)
    assert np.abs(apart - np.rint(apart)).max() < 1e-10
    assert integrator.stats.fallbacks == 0
    assert physics.calls == integrator.stats.physics_evaluations == 11
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-8)


@pytest.mark.parametrize("way", ["checkpoint", "xml"])
def test_restarts(model, way):
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 3)
    barostat.setRandomNumberSeed(3)
    bath = {"temperature": 300.0, "friction": 1.0}
    _, integrator, context = started(model, methanol(), barostat, **bath)
    while np.array_equal(context.getState().getPeriodicBoxVectors(asNumpy=True)._value, BOX):
        integrator.step(1)
    integrator.step(1)
    if way == "checkpoint":
        _, again, elsewhere = started(
            model, methanol(), openmm.XmlSerializer.clone(barostat), **bath
        )
        elsewhere.loadCheckpoint(context.createCheckpoint())
    else:
        state = context.getState(positions=True, velocities=True, integratorParameters=True)
        system = context.getSystem()
        jump = system.getForce(system.getNumForces() - 1)
        copied = openmm.XmlSerializer.clone(jump)
        system, _ = system_of(methanol(), springs())
        system.addForce(openmm.XmlSerializer.clone(barostat))
        system.addForce(copied)
        assert add_jump(system, model) == 31
        again = openmm.XmlSerializer.clone(integrator)
        elsewhere = make_context(system, again)
        elsewhere.setState(openmm.XmlSerializer.clone(state))
    integrator.step(1)
    again.step(1)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-13
    assert np.abs(moving(elsewhere) - moving(context)).max() < 1e-12
