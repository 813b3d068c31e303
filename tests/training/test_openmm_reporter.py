"""Runs of KStepIntegrator become trajectories whose windows span no kick, fallback or rejection."""

import numpy as np
import openmm
import pytest
from openmm import app

from kstep_integrators import units
from kstep_integrators.openmm import KStepIntegrator
from kstep_training.dataset.make_dataset import find_trajectories
from kstep_training.dataset.segments import labelled_frames
from kstep_training.openmm_reporter import TrajectoryReporter
from kstep_training.trajectory import read_npz
from tests.conftest import hot
from tests.openmm.systems import (
    Counted,
    OpenMMCalculator,
    model,
    molecule,
    moving,
    place,
    springs,
    topology,
    where,
)

__all__ = ["model", "molecule"]

BATH = {"temperature": 300.0, "friction": 10.0}
NAMES = {"name": "ethanol", "method": "springs", "temperature_K": 300.0}


def simulation_of(molecule, model, more=(), **settings):
    system = springs(hot())
    counter = Counted().join(system)
    for force in more:
        system.addForce(force)
    integrator = KStepIntegrator(system, model, **settings)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology(molecule), system, integrator, platform)
    place(simulation.context, molecule)
    return simulation, counter


def read(folder):
    (paths,) = find_trajectories([folder]).values()
    return [(path, read_npz(path)) for path in paths]


def test_frames_are_those_of_the_run_and_cost_nothing(molecule, model, tmp_path):
    simulation, counter = simulation_of(molecule, model, k=2)
    reporter = TrajectoryReporter(tmp_path, 2, smiles="CCO", **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(8)
    assert counter.calls == 9
    reporter.close()
    reporter.close()
    ((path, run),) = read(tmp_path)
    assert path.name == "ethanol.300K.0.0.npz"
    assert len(run) == 4
    assert run.has_label.all()
    assert np.allclose(run.positions[-1], 10.0 * where(simulation.context), atol=1e-12)
    v = moving(simulation.context) * units.NM_PER_PS
    assert np.allclose(run.velocities[-1], v, atol=1e-12)
    molecule.calc = OpenMMCalculator(springs(hot()))
    molecule.positions = run.positions[-1]
    assert np.allclose(run.forces[-1], molecule.get_forces(), atol=1e-6)
    assert run.energies[-1] == pytest.approx(molecule.get_potential_energy(), abs=1e-6)
    assert run.metadata["smiles"] == "CCO"
    assert run.metadata["constraints"] is None
    frames = labelled_frames(run, path)
    assert frames.segments == [(0, 4)]
    stride = 2 * model.timestep
    assert frames.timestep_fs == pytest.approx(2 * stride / units.FS)


def test_fallbacks_end_a_file(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    simulation.step(3)
    # Too fast for a jump of the model, not for the physics that follows.
    simulation.integrator.setGlobalVariableByName("kstep_energy_limit", -1.0)
    simulation.step(1)
    assert simulation.integrator.stats.fallbacks == 1
    simulation.integrator.setGlobalVariableByName("kstep_energy_limit", 1e6)
    simulation.step(2)
    simulation.context.setPositions(where(simulation.context) + 1e-4)
    simulation.step(2)
    simulation.reporters[0].close()
    runs = read(tmp_path)
    assert [len(run) for _, run in runs] == [3, 3, 2]
    assert [labelled_frames(run, path).segments for path, run in runs] == [
        [(0, 3)], [(0, 3)], [(0, 2)],
    ]  # fmt: skip


def _other_atom(simulation):
    v = moving(simulation.context)
    v[3, 1] += 0.01
    simulation.context.setVelocities(v)


def _same_state_with_other_velocities(simulation):
    kept = simulation.context.getState(
        positions=True, velocities=True, parameters=True, integratorParameters=True
    )
    simulation.context.setVelocitiesToTemperature(300.0, 5)
    simulation.context.setState(kept)


def _another_integrator(simulation):
    """Velocity Verlet by another Context moves the atoms on."""
    other = openmm.Context(
        springs(hot()), openmm.VerletIntegrator(0.0005), simulation.context.getPlatform()
    )
    other.setPositions(where(simulation.context))
    other.setVelocities(moving(simulation.context))
    other.getIntegrator().step(2)
    simulation.context.setPositions(where(other))
    simulation.context.setVelocities(moving(other))


KICKS = {
    "velocities drawn": lambda s: s.context.setVelocitiesToTemperature(600.0, 3),
    "velocities scaled": lambda s: s.context.setVelocities(1.0001 * moving(s.context)),
    "velocities turned": lambda s: s.context.setVelocities(-moving(s.context)),
    "at rest": lambda s: s.context.setVelocities(np.zeros((9, 3))),
    "one atom": _other_atom,
    "moved": lambda s: s.context.setPositions(where(s.context) + 1e-5),
    "minimized": lambda s: s.minimizeEnergy(maxIterations=2),
    "parameter": lambda s: s.context.setParameter("stiffness", 1.01),
    "force groups": lambda s: s.integrator.setIntegrationForceGroups({0, 2}),
    "another integrator": _another_integrator,
    "reinitialized": lambda s: s.integrator.invalidateForces(),
}


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("kick", KICKS.values(), ids=KICKS)
def test_kicks_end_a_file(molecule, model, tmp_path, kick, interval):
    """Also between two frames, and whoever asked for the steps before and after."""
    simulation, _ = simulation_of(molecule, model, k=1)
    reporter = TrajectoryReporter(tmp_path, interval, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(3 * interval)
    simulation.step(interval // 2)
    kick(simulation)
    simulation.step(4 * interval - interval // 2)
    reporter.close()
    runs = read(tmp_path)
    assert [len(run) for _, run in runs] == [3, 4]
    segments = [labelled_frames(run, path).segments for path, run in runs]
    assert segments == [[(0, 3)], [(0, 4)]]
    for _, run in runs:  # the velocity of the middle is that between two frames
        spacing = np.diff(run.time)
        mean = 0.5 * (run.velocities[1:] + run.velocities[:-1])
        moved = np.diff(run.positions, axis=0)
        assert (moved * mean).sum() / (mean**2).sum() == pytest.approx(spacing.mean(), rel=0.03)


def test_a_state_of_another_run_ends_a_file(molecule, model, tmp_path):
    """As replica exchange loads them: with as many jumps behind it."""
    simulation, _ = simulation_of(molecule, model, k=1)
    other, _ = simulation_of(molecule, model, k=1)
    other.context.setVelocitiesToTemperature(300.0, 4)
    other.step(3)
    state = other.context.getState(
        positions=True, velocities=True, parameters=True, integratorParameters=True
    )
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(3)
    simulation.context.setState(state)
    simulation.step(3)
    reporter.close()
    assert [len(run) for _, run in read(tmp_path)] == [3, 3]


def test_what_changes_nothing_ends_no_file(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1)
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(3)
    simulation.context.setPositions(where(simulation.context))
    simulation.context.setVelocities(moving(simulation.context))
    _same_state_with_other_velocities(simulation)
    simulation.context.getState(energy=True, forces=True)
    simulation.context.reinitialize(preserveState=True)
    simulation.step(3)
    reporter.close()
    assert [len(run) for _, run in read(tmp_path)] == [6]


@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_removed_momentum(molecule, model, tmp_path, drift):
    """A CMMotionRemover kicks where there is something to remove."""
    simulation, _ = simulation_of(molecule, model, k=1, more=[openmm.CMMotionRemover(2)])
    simulation.step(1)
    v = moving(simulation.context)
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.context.setVelocities(v + drift)
    simulation.step(5)
    reporter.close()
    assert [len(run) for _, run in read(tmp_path)] == ([5] if drift == 0.0 else [1, 4])


def test_an_andersen_thermostat_leaves_no_windows(molecule, model, tmp_path):
    simulation, _ = simulation_of(
        molecule, model, k=1, more=[openmm.AndersenThermostat(300.0, 2000.0)]
    )
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(4)
    reporter.close()
    assert [len(run) for _, run in read(tmp_path)] == [1, 1, 1, 1]


def test_a_clock_that_is_set_ends_a_file(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1)
    stride = simulation.integrator.getStepSize()._value
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(2)
    simulation.context.setTime(7.0)
    simulation.step(3)
    reporter.close()
    (_, first), (_, second) = read(tmp_path)
    assert np.allclose(first.time, np.array([1, 2]) * stride * units.PS)
    assert np.allclose(second.time, (7.0 + np.array([1, 2, 3]) * stride) * units.PS)


@pytest.mark.parametrize("interval", [1, 2])
def test_times_follow_the_stride(molecule, model, tmp_path, interval):
    simulation, _ = simulation_of(molecule, model, k=1)
    stride = simulation.integrator.getStepSize()._value
    reporter = TrajectoryReporter(tmp_path, interval, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(2 * interval)
    simulation.integrator.setStepSize(0.5 * stride)
    simulation.step(3 * interval)
    reporter.close()
    (_, first), (path, second) = read(tmp_path)
    strides = np.concatenate([first.time, second.time]) / (interval * stride * units.PS)
    assert np.allclose(strides, [1, 2, 2.5, 3, 3.5], atol=1e-9)
    frames = labelled_frames(second, path)
    assert frames.segments == [(0, 3)]
    assert frames.timestep_fs == pytest.approx(500.0 * interval * stride)


def test_times_where_the_clock_is_wrong(molecule, model, tmp_path):
    """An integrator out of XML that was not restored: OpenMM's clock keeps the old stride."""
    system = springs(hot())
    made = KStepIntegrator(system, model, k=1)
    plain = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(made))
    reference = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology(molecule), system, plain, reference)
    place(simulation.context, molecule)
    stride = plain.getStepSize()._value
    plain.setStepSize(0.5 * stride)
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(4)
    reporter.close()
    ((path, run),) = read(tmp_path)
    assert np.allclose(np.diff(run.time), 0.5 * stride * units.PS, rtol=1e-9)
    assert labelled_frames(run, path).segments == [(0, 4)]


@pytest.mark.parametrize(
    "integrator",
    [
        openmm.VerletIntegrator(0.001),
        openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001),
        openmm.CustomIntegrator(0.001),
        openmm.CompoundIntegrator(),
    ],
    ids=lambda integrator: type(integrator).__name__,
)
def test_other_integrators_are_refused(molecule, tmp_path, integrator):
    if isinstance(integrator, openmm.CompoundIntegrator):
        integrator.addIntegrator(openmm.VerletIntegrator(0.001))
    simulation = app.Simulation(
        topology(molecule), springs(hot()), integrator, openmm.Platform.getPlatform("Reference")
    )
    place(simulation.context, molecule)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    with pytest.raises(ValueError, match=f"{type(integrator).__name__}.*KStepIntegrator"):
        simulation.step(1)
    assert np.array_equal(where(simulation.context), molecule.positions / 10.0)


def test_a_heat_bath_leaves_no_windows(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1, **BATH)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    simulation.step(3)
    del simulation  # what is kept is written
    ((path, run),) = read(tmp_path)
    frames = labelled_frames(run, path)
    assert len(frames.rows) == 3
    assert frames.segments == []


def test_full_files_and_runs_that_go_on(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1)
    settings = {"frames_per_file": 2, **NAMES}
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **settings))
    simulation.step(3)
    saved = simulation.context.createCheckpoint()
    simulation.step(3)
    whole = np.concatenate([run.positions for _, run in read(tmp_path)])
    assert [len(run) for _, run in read(tmp_path)] == [2, 2, 2]
    simulation.reporters.clear()
    with pytest.raises(FileExistsError, match="append=True"):
        TrajectoryReporter(tmp_path, 1, **settings)
    simulation.context.loadCheckpoint(saved)
    simulation.currentStep = 3
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, append=True, **settings))
    simulation.step(3)
    simulation.reporters[0].close()
    runs = read(tmp_path)
    assert [len(run) for _, run in runs] == [2, 1, 2, 1]
    assert np.array_equal(np.concatenate([run.positions for _, run in runs]), whole)
    steps = [round(float(t) / model.timestep) for _, run in runs for t in run.time]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_what_cannot_be_reported_is_refused(molecule, model, tmp_path):
    with pytest.raises(ValueError, match="interval is 0, expected an integer >= 1"):
        TrajectoryReporter(tmp_path, 0, **NAMES)
    settings = {"k": 1, "corrector": "none", "metropolize": True, **BATH}
    simulation, _ = simulation_of(molecule, model, **settings)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    with pytest.raises(ValueError, match="keeps no forces"):
        simulation.step(1)
    simulation, _ = simulation_of(molecule, model, k=1)
    next(simulation.topology.atoms()).element = None
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    with pytest.raises(ValueError, match="without an element"):
        simulation.step(1)
    simulation, _ = simulation_of(molecule, model, k=1)
    simulation.system.getForce(0).setUsesPeriodicBoundaryConditions(True)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    with pytest.raises(ValueError, match=r"is periodic, .* writes neither box vectors .*kstep run"):
        simulation.step(1)
    simulation, _ = simulation_of(molecule, model, k=1)
    simulation.system.addConstraint(0, 1, 0.15)
    simulation.reporters.append(TrajectoryReporter(tmp_path, 1, **NAMES))
    with pytest.raises(ValueError, match="not the bonds of all hydrogen"):
        simulation.step(1)
    assert not list(tmp_path.glob("*.npz"))


def test_constraints_are_recorded(molecule, model, tmp_path):
    simulation, _ = simulation_of(molecule, model, k=1)
    distances = molecule.get_all_distances()
    heavy = np.flatnonzero(molecule.numbers != 1)
    for i in np.flatnonzero(molecule.numbers == 1):
        j = int(heavy[distances[i, heavy].argmin()])
        simulation.system.addConstraint(j, int(i), float(distances[i, j]) / 10.0)
    reporter = TrajectoryReporter(tmp_path, 1, **NAMES)
    simulation.reporters.append(reporter)
    simulation.step(2)
    reporter.close()
    assert read(tmp_path)[0][1].metadata["constraints"] == "HBonds"
