"""The time of a Context follows the stride that the integrator has, wherever it is told."""

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_integrators import KStepWarning
from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.systems import Counted, make_context, model, molecule, place, springs, topology

__all__ = ["model", "molecule"]


def simulation_of(molecule, model, platform="Reference", **settings):
    system = springs(molecule)
    integrator = KStepIntegrator(system, model, **{"k": 2, "timestep": 0.0005, **settings})
    made = app.Simulation(
        topology(molecule), system, integrator, openmm.Platform.getPlatformByName(platform)
    )
    place(made.context, molecule)
    return made


def time(context):
    return context.getTime().value_in_unit(unit.femtosecond)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_after_another_stride(molecule, model, platform, tmp_path):
    simulation = simulation_of(molecule, model, platform)
    log, states = tmp_path / "log.csv", tmp_path / "state.xml"
    simulation.reporters += [
        app.StateDataReporter(str(log), 2, time=True),
        app.CheckpointReporter(str(states), 2, writeState=True),
    ]
    simulation.step(2)
    simulation.integrator.setStepSize(0.5 * unit.femtosecond)
    simulation.step(4)
    simulation.integrator.setStepSize(0.002)
    simulation.step(2)
    told = np.loadtxt(log, skiprows=1)
    assert np.allclose(told, [0.002, 0.003, 0.004, 0.008], atol=1e-12)
    state = openmm.XmlSerializer.deserialize(states.read_text())
    assert state.getTime()._value == pytest.approx(0.008, abs=1e-12)
    assert time(simulation.context) == pytest.approx(8.0, abs=1e-9)
    simulation.context.setTime(1.0)
    simulation.step(1)
    assert time(simulation.context) == pytest.approx(1002.0, abs=1e-9)
    again = simulation.context.createCheckpoint()
    simulation.step(1)
    simulation.context.loadCheckpoint(again)
    simulation.step(2)
    assert time(simulation.context) == pytest.approx(1006.0, abs=1e-9)


def test_before_the_first_step_and_through_reinitialization(molecule, model):
    simulation = simulation_of(molecule, model)
    simulation.integrator.setStepSize(0.003)
    simulation.step(2)
    simulation.context.reinitialize(preserveState=True)
    simulation.step(2)
    assert time(simulation.context) == pytest.approx(12.0, abs=1e-9)


def test_restored_integrators_follow(molecule, model):
    simulation = simulation_of(molecule, model)
    text = openmm.XmlSerializer.serialize(simulation.integrator)
    integrator = KStepIntegrator.restore(openmm.XmlSerializer.deserialize(text))
    context = place(make_context(simulation.system, integrator), molecule)
    integrator.step(2)
    integrator.setStepSize(0.0005)
    integrator.step(2)
    assert time(context) == pytest.approx(3.0, abs=1e-9)


def test_an_error_in_between(molecule, model):
    """Steps that were made count, the one that failed does not."""

    class Failing(Counted):
        def __call__(self, state):
            if self.calls == 4:
                self.calls += 1
                raise RuntimeError("no convergence")
            return super().__call__(state)

        def __reduce__(self):
            return Failing, ()

    system = springs(molecule)
    Failing().join(system)
    integrator = KStepIntegrator(system, model, k=2, timestep=0.0005)
    context = place(make_context(system, integrator), molecule)
    integrator.setStepSize(0.0005)
    with pytest.raises(openmm.OpenMMException, match="no convergence"):
        integrator.step(10)
    assert integrator.stats.jumps == 3
    assert time(context) == pytest.approx(1.5, abs=1e-9)


def test_the_trajectory_is_that_of_an_integrator_with_this_stride(molecule, model):
    changed, plain = (simulation_of(molecule, model, timestep=t) for t in (0.0005, 0.00025))
    changed.integrator.setStepSize(0.0005)
    for simulation in (changed, plain):
        simulation.step(5)
    ends = [s.context.getState(positions=True).getPositions(asNumpy=True)._value
            for s in (changed, plain)]  # fmt: skip
    assert np.array_equal(*ends)


@pytest.mark.parametrize("size", [0.0, -0.001, float("nan"), "fast", 1 * unit.kelvin])
def test_strides_refused(molecule, model, size):
    integrator = simulation_of(molecule, model).integrator
    with pytest.raises((ValueError, TypeError), match=r"size is .*, expected"):
        integrator.setStepSize(size)


def test_parts_of_other_integrators_are_warned_of(molecule, model):
    """Their steps are right, OpenMM's clock is not."""
    system, whole = springs(molecule), openmm.CompoundIntegrator()
    part = KStepIntegrator(system, model, k=2, timestep=0.0005)
    whole.addIntegrator(part)
    part.setStepSize(0.002)  # there is no Context yet
    context = place(make_context(system, whole), molecule)
    whole.step(2)
    assert time(context) == pytest.approx(4.0, abs=1e-9)
    with pytest.warns(KStepWarning, match="part of a CompoundIntegrator.*reinitialize"):
        part.setStepSize(0.001)
    context.reinitialize(preserveState=True)
    whole.step(2)
    assert time(context) == pytest.approx(6.0, abs=1e-9)
