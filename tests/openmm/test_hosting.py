"""KStepIntegrator where an integrator is expected: reporters, checkpoints, XML, minimizers."""

import copy
import io
import pickle
import re
import threading
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.conftest import hot, network
from tests.openmm.systems import (
    Counted,
    OpenMMCalculator,
    context,
    growth,
    model,
    molecule,
    moving,
    place,
    springs,
    topology,
    where,
)

__all__ = ["model", "molecule"]

KJ = unit.kilojoule_per_mole
BATH = {"temperature": 300 * unit.kelvin, "friction": 10 / unit.picosecond}


def setting(molecule, model, platform="Reference", **settings):
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, k=2, **settings)
    return system, counter, integrator, place(context(system, integrator, platform), molecule)


def potential_energy(found):
    return found.getState(getEnergy=True).getPotentialEnergy().value_in_unit(KJ)


def calls(counter, action):
    before = counter.calls
    action()
    return counter.calls - before


def test_what_is_reported_is_the_physics(molecule, model):
    _system, counter, integrator, found = setting(molecule, model)
    molecule.calc = OpenMMCalculator(springs(hot()))
    for _ in range(3):
        integrator.step(1)
        molecule.positions = where(found) * 10.0
        state = found.getState(getEnergy=True, getForces=True)
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
    _system, counter, integrator, found = setting(molecule, model)

    def step():
        integrator.step(1)

    assert calls(counter, step) == 2  # the start and the landing
    assert calls(counter, step) == 1
    # A report of energies costs its own evaluation and no other.
    assert calls(counter, lambda: found.getState(getEnergy=True)) == 1
    assert calls(counter, step) == 1
    assert calls(counter, lambda: found.getState(getPositions=True, getVelocities=True)) == 0
    assert calls(counter, lambda: found.setPositions(where(found) + 1e-5)) == 0
    assert calls(counter, step) == 2
    assert calls(counter, lambda: found.setPositions(where(found))) == 0
    assert calls(counter, step) == 1  # nothing has moved
    assert calls(counter, lambda: found.setVelocitiesToTemperature(300, 1)) == 0
    assert calls(counter, step) == 1  # forces do not depend on velocities
    openmm.LocalEnergyMinimizer.minimize(found, maxIterations=5)
    assert calls(counter, step) == 2
    found.setParameter("stiffness", 1.1)
    assert calls(counter, step) == 2
    integrator.setStepSize(0.4 * unit.femtosecond)
    assert calls(counter, step) == 2
    integrator.invalidateForces()
    assert calls(counter, step) == 2
    assert integrator.stats.physics_evaluations == 10 + 6


@pytest.mark.parametrize("how", ["positions", "minimization", "parameter", "state"])
def test_stale_forces_do_not_act(molecule, model, how):
    """After a change the path is that of a new Context which starts there."""
    _system, _counter, integrator, found = setting(molecule, model)
    integrator.step(2)
    if how == "positions":
        found.setPositions(where(found) * 1.001)
    elif how == "minimization":
        openmm.LocalEnergyMinimizer.minimize(found, maxIterations=3)
    elif how == "state":  # of another run, without what its integrator knows
        other = place(context(springs(hot()), openmm.VerletIntegrator(0.0005)), molecule)
        other.getIntegrator().step(5)
        text = openmm.XmlSerializer.serialize(other.getState(getPositions=True, getVelocities=True))
        found.setState(openmm.XmlSerializer.deserialize(text))
    else:
        found.setParameter("stiffness", 1.2)
    fresh = setting(molecule, model)
    fresh[3].setPositions(where(found))
    fresh[3].setVelocities(moving(found))
    fresh[3].setParameter("stiffness", found.getParameter("stiffness"))
    assert np.abs(where(found) - where(fresh[3])).max() == 0.0
    for each in (integrator, fresh[2]):
        each.step(3)
    assert np.abs(where(found) - where(fresh[3])).max() < 1e-13


def test_parameters_updated_in_the_context_need_a_word(molecule, model):
    system, counter, integrator, found = setting(molecule, model)
    integrator.step(1)
    torsion = system.getForce(1)
    torsion.setTorsionParameters(0, 0, 1, 2, 3, 3, 0.0, 40.0)
    torsion.updateParametersInContext(found)
    integrator.invalidateForces()
    assert calls(counter, lambda: integrator.step(1)) == 2


def test_minimization_ignores_the_jump(molecule, model):
    _system, _counter, _integrator, found = setting(molecule, model)
    openmm.LocalEnergyMinimizer.minimize(found, tolerance=0.001)
    plain = place(context(springs(hot()), openmm.VerletIntegrator(0.001)), molecule)
    openmm.LocalEnergyMinimizer.minimize(plain, tolerance=0.001)
    assert potential_energy(found) == pytest.approx(potential_energy(plain), abs=1e-6)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_checkpoint_goes_on(molecule, model, platform):
    _system, counter, integrator, found = setting(molecule, model, platform, **BATH)
    integrator.step(3)
    saved = found.createCheckpoint()
    integrator.step(3)
    ends = where(found), moving(found)
    found.loadCheckpoint(saved)
    assert calls(counter, lambda: integrator.step(3)) == 3
    assert np.array_equal(where(found), ends[0])
    assert np.array_equal(moving(found), ends[1])
    _, counter, other, elsewhere = setting(molecule, model, platform, **BATH)
    elsewhere.loadCheckpoint(saved)
    assert calls(counter, lambda: other.step(3)) == 3
    # To rounding: the potential there is computed anew.
    assert np.abs(where(elsewhere) - ends[0]).max() < 1e-14
    assert other.stats.jumps == integrator.stats.jumps == 6


def test_xml_goes_on(molecule, model):
    system, _counter, integrator, found = setting(molecule, model)
    integrator.step(3)
    texts = [
        openmm.XmlSerializer.serialize(each)
        for each in (
            system,
            integrator,
            found.getState(
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
    elsewhere = context(again, same)
    elsewhere.setState(state)
    same.step(3)
    assert np.abs(where(elsewhere) - where(found)).max() < 1e-14
    # The start was evaluated before the state was written.
    assert same.getGlobalVariableByName("kstep_evaluations") == 7


def test_xml_holds_path_and_hash_and_no_weights(molecule, model):
    system, *_ = setting(molecule, model)
    text = openmm.XmlSerializer.serialize(system)
    (line,) = [line for line in text.splitlines() if "kstep-jump" in line]
    function = bytes.fromhex(re.search('function="([0-9a-f]+)"', line)[1])
    assert len(function) < 1000
    assert model.digest.encode() in function
    assert str(Path(model.source)).encode() in function
    bundled = springs(hot())
    add_jump(bundled, "organic-gfn2")
    assert b"organic-gfn2".hex() in openmm.XmlSerializer.serialize(bundled)


def test_copies_keep_the_class(molecule, model):
    _, _, integrator, _ = setting(molecule, model, **BATH)
    pickled = pickle.loads(pickle.dumps(integrator))  # noqa: S301
    for made in (copy.copy(integrator), pickled):
        assert isinstance(made, KStepIntegrator)
        assert made.getTemperature() / unit.kelvin == pytest.approx(300)
        assert made.getNumBaseSteps() == 2


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


def test_two_contexts_of_one_system_do_not_mix(molecule, model):
    system = springs(hot())
    runs = []
    for _ in range(2):
        integrator = KStepIntegrator(system, model, k=2)
        runs.append((integrator, place(context(system, integrator), molecule)))
    runs[1][1].setVelocities(-moving(runs[1][1]))
    assert system.getNumForces() == 3
    alone = []
    for integrator, found in runs:
        saved = found.createCheckpoint()
        integrator.step(10)
        alone.append(where(found))
        found.loadCheckpoint(saved)
    threads = [threading.Thread(target=integrator.step, args=(10,)) for integrator, _ in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (_, found), expected in zip(runs, alone, strict=True):
        assert np.abs(where(found) - expected).max() < 1e-13


@pytest.mark.slow
def test_memory_stays(molecule, model, tmp_path):
    """Flows: one state, or one array of the molecule, kept per jump would be more."""
    system = springs(hot())
    integrator = KStepIntegrator(system, model, k=1, timestep=0.1 * unit.femtosecond, **BATH)
    resident, traced = growth(molecule, system, integrator, tmp_path)
    assert integrator.stats.fallbacks == 0
    assert resident < 500_000
    assert traced < 30_000


def test_errors_leave_the_context_in_order(molecule, tmp_path):
    built = network()
    path = tmp_path / "model.safetensors"
    write_model(path, built, ModelHeader("untrained", built.config, "none"))
    system, _, integrator, found = setting(molecule, load_model(path, device="cpu"))
    integrator.step(1)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    same = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(integrator))
    elsewhere = context(again, same)
    elsewhere.setPositions(where(found))
    elsewhere.setVelocities(moving(found))
    write_model(path, network(seed=1), ModelHeader("another", built.config, "none"))
    for _ in range(2):
        with pytest.raises(openmm.OpenMMException, match="put the old file back"):
            same.step(1)
        assert np.array_equal(where(elsewhere), where(found))
        assert np.array_equal(moving(elsewhere), moving(found))
        assert potential_energy(elsewhere) == pytest.approx(potential_energy(found), abs=1e-9)
    path.unlink()
    with pytest.raises(openmm.OpenMMException, match="neither a file nor a bundled"):
        same.step(1)
    write_model(path, built, ModelHeader("untrained", built.config, "none"))
    integrator.step(2)
    same.step(2)
    assert np.abs(where(elsewhere) - where(found)).max() < 1e-7  # float32 inside


def test_interrupt_in_a_jump_leaves_the_context_in_order(molecule, model, monkeypatch):
    _, counter, integrator, found = setting(molecule, model)
    integrator.step(1)
    start = where(found), moving(found)

    def interrupted(*_):
        raise KeyboardInterrupt("stop")

    with monkeypatch.context() as patch:
        patch.setattr("kstep_integrators.openmm.force.Guard.check_jump", interrupted)
        with pytest.raises(openmm.OpenMMException, match="stop"):
            integrator.step(1)
    assert np.array_equal(where(found), start[0])
    assert np.array_equal(moving(found), start[1])
    # What was kept is not trusted after an error.
    assert calls(counter, lambda: integrator.step(1)) == 2


@pytest.mark.parametrize("bad", [3, 4], ids=["start", "landing"])
def test_error_of_the_physics_makes_what_is_kept_stale(molecule, model, bad):
    class Failing(Counted):
        def __call__(self, state):
            if self.calls == bad:
                self.calls += 1
                raise RuntimeError("no convergence")
            return super().__call__(state)

    system = springs(hot())
    counter = Failing().join(system)
    integrator = KStepIntegrator(system, model, k=2)
    found = place(context(system, integrator), molecule)
    integrator.step(1)
    start = where(found), moving(found)
    integrator.step(1)
    expected = where(found)
    found.setPositions(start[0])
    found.setVelocities(start[1])
    with pytest.raises(openmm.OpenMMException, match="no convergence"):
        integrator.step(1)
    assert np.array_equal(where(found), start[0]) == (bad == 3)
    integrator.undoStep(found)
    assert np.array_equal(where(found), start[0])
    assert np.array_equal(moving(found), start[1])
    assert calls(counter, lambda: integrator.step(1)) == 2
    assert np.abs(where(found) - expected).max() < 1e-14


def test_a_start_that_nothing_can_advance(molecule, model):
    _, _, integrator, found = setting(molecule, model)
    found.setVelocities(np.full((9, 3), 500.0) * np.random.default_rng(0).normal(size=(9, 3)))
    start = where(found)
    with pytest.raises(openmm.OpenMMException, match="base step may be too long"):
        integrator.step(1)
    assert np.array_equal(where(found), start)


def test_positions_that_are_not_finite(molecule, model):
    _, _, integrator, found = setting(molecule, model, "CPU")
    broken = where(found)
    broken[2, 1] = np.nan
    found.setPositions(broken)
    with pytest.raises(openmm.OpenMMException, match=r"(?i)nan|not finite"):
        integrator.step(1)
