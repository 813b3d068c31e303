"""KStepIntegrator where an integrator is expected: reporters, checkpoints, XML, minimizers."""

import io
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_integrators.openmm import KStepIntegrator
from tests.conftest import hot
from tests.openmm.hosted import BATH, KJ, calls, potential_energy, setting
from tests.openmm.systems import (
    Counted,
    OpenMMCalculator,
    make_context,
    model,
    molecule,
    moving,
    place,
    springs,
    topology,
    where,
)

__all__ = ["model", "molecule"]


def test_what_is_reported_is_the_physics(molecule, model):
    _system, counter, integrator, context = setting(molecule, model)
    molecule.calc = OpenMMCalculator(springs(hot()))
    for _ in range(3):
        integrator.step(1)
        molecule.positions = where(context) * 10.0
        state = context.getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit(KJ)
        before = counter.calls
        assert energy == pytest.approx(integrator.getLandingEnergy() / KJ, abs=1e-9)
        assert counter.calls == before
        assert energy == pytest.approx(molecule.get_potential_energy() * 96.48533, rel=1e-6)
        plain = molecule.calc.context.getState(getEnergy=True, getForces=True)
        assert energy == pytest.approx(plain.getPotentialEnergy().value_in_unit(KJ), abs=1e-9)
        # 0.1 * 10 is not always what it was
        there = state.getForces(asNumpy=True) - plain.getForces(asNumpy=True)
        assert np.abs(there / (KJ / unit.nanometer)).max() < 1e-7


def test_evaluations_are_counted_and_stale_forces_found(molecule, model):
    _system, counter, integrator, context = setting(molecule, model)

    def step():
        integrator.step(1)

    assert calls(counter, step) == 2  # the start and the landing
    assert calls(counter, step) == 1
    # A report of energies costs its own evaluation and no other.
    assert calls(counter, lambda: context.getState(getEnergy=True)) == 1
    assert calls(counter, step) == 1
    assert calls(counter, lambda: context.getState(getPositions=True, getVelocities=True)) == 0
    assert calls(counter, lambda: context.setPositions(where(context) + 1e-5)) == 0
    assert calls(counter, step) == 2
    assert calls(counter, lambda: context.setPositions(where(context))) == 0
    assert calls(counter, step) == 1  # nothing has moved
    assert calls(counter, lambda: context.setVelocitiesToTemperature(300, 1)) == 0
    assert calls(counter, step) == 1  # forces do not depend on velocities
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=5)
    assert calls(counter, step) == 2
    context.setParameter("stiffness", 1.1)
    assert calls(counter, step) == 2
    integrator.setStepSize(0.4 * unit.femtosecond)
    assert calls(counter, step) == 2
    integrator.invalidateForces()
    assert calls(counter, step) == 2
    assert integrator.stats.physics_evaluations == 10 + 6


@pytest.mark.parametrize("how", ["positions", "minimization", "parameter", "state"])
def test_stale_forces_do_not_act(molecule, model, how):
    """After a change the path is that of a new Context which starts there."""
    _system, _counter, integrator, context = setting(molecule, model)
    integrator.step(2)
    if how == "positions":
        context.setPositions(where(context) * 1.001)
    elif how == "minimization":
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=3)
    elif how == "state":  # of another run, without what its integrator knows
        other = place(make_context(springs(hot()), openmm.VerletIntegrator(0.0005)), molecule)
        other.getIntegrator().step(5)
        text = openmm.XmlSerializer.serialize(other.getState(getPositions=True, getVelocities=True))
        context.setState(openmm.XmlSerializer.deserialize(text))
    else:
        context.setParameter("stiffness", 1.2)
    fresh = setting(molecule, model)
    fresh[3].setPositions(where(context))
    fresh[3].setVelocities(moving(context))
    fresh[3].setParameter("stiffness", context.getParameter("stiffness"))
    assert np.abs(where(context) - where(fresh[3])).max() == 0.0
    for each in (integrator, fresh[2]):
        each.step(3)
    assert np.abs(where(context) - where(fresh[3])).max() < 1e-13


def test_parameters_updated_in_the_context_need_a_word(molecule, model):
    system, counter, integrator, context = setting(molecule, model)
    integrator.step(1)
    torsion = system.getForce(1)
    torsion.setTorsionParameters(0, 0, 1, 2, 3, 3, 0.0, 40.0)
    torsion.updateParametersInContext(context)
    integrator.invalidateForces()
    assert calls(counter, lambda: integrator.step(1)) == 2


def test_minimization_ignores_the_jump(molecule, model):
    _system, _counter, _integrator, context = setting(molecule, model)
    openmm.LocalEnergyMinimizer.minimize(context, tolerance=0.001)
    plain = place(make_context(springs(hot()), openmm.VerletIntegrator(0.001)), molecule)
    openmm.LocalEnergyMinimizer.minimize(plain, tolerance=0.001)
    assert potential_energy(context) == pytest.approx(potential_energy(plain), abs=1e-6)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_checkpoint_goes_on(molecule, model, platform):
    _system, counter, integrator, context = setting(molecule, model, platform, **BATH)
    integrator.step(3)
    saved = context.createCheckpoint()
    integrator.step(3)
    ends = where(context), moving(context)
    context.loadCheckpoint(saved)
    assert calls(counter, lambda: integrator.step(3)) == 3
    assert np.array_equal(where(context), ends[0])
    assert np.array_equal(moving(context), ends[1])
    _, counter, other, elsewhere = setting(molecule, model, platform, **BATH)
    elsewhere.loadCheckpoint(saved)
    assert calls(counter, lambda: other.step(3)) == 3
    # To rounding: the potential there is computed anew.
    assert np.abs(where(elsewhere) - ends[0]).max() < 1e-14
    assert other.stats.jumps == integrator.stats.jumps == 6


def test_xml_goes_on(molecule, model):
    system, _counter, integrator, context = setting(molecule, model)
    integrator.step(3)
    texts = [
        openmm.XmlSerializer.serialize(each)
        for each in (
            system,
            integrator,
            context.getState(
                getPositions=True,
                getVelocities=True,
                getParameters=True,
                getIntegratorParameters=True,
            ),
        )
    ]
    integrator.step(3)
    again, same, state = [openmm.XmlSerializer.deserialize(text) for text in texts]
    assert type(same) is openmm.CustomIntegrator
    elsewhere = make_context(again, same)
    elsewhere.setState(state)
    same.step(3)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-14
    # The start was evaluated before the state was written.
    assert same.getGlobalVariableByName("kstep_evaluations") == 7


def test_simulation_with_reporters(molecule, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, k=1, **BATH)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology(molecule), system, integrator, platform)
    place(simulation.context, molecule)
    log = io.StringIO()
    simulation.reporters += [
        app.StateDataReporter(log, 4, step=True, time=True, potentialEnergy=True, temperature=True),
        app.DCDReporter("path.dcd", 4),
        app.CheckpointReporter("run.chk", 4),
        app.CheckpointReporter("run.xml", 4, writeState=True),
    ]
    simulation.step(8)
    assert counter.calls == 9 + 2  # two reports of energies
    assert Path("path.dcd").stat().st_size > 0
    rows = [line.split(",") for line in log.getvalue().splitlines()]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx([0.001, 0.002])
    assert float(rows[2][2]) == pytest.approx(potential_energy(simulation.context), abs=1e-9)
    simulation.loadState("run.xml")
    simulation.step(1)
    simulation.saveState("end.xml")
    simulation.loadCheckpoint("run.chk")
    simulation.step(1)
    simulation.minimizeEnergy(maxIterations=3)
    simulation.step(1)
