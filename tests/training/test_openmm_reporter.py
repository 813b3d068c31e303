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
    where,
)

__all__ = ["model", "molecule"]

BATH = {"temperature": 300.0, "friction": 10.0}
NAMES = {"name": "ethanol", "method": "springs", "temperature_K": 300.0}


def simulation_of(molecule, model, **settings):
    topology = app.Topology()
    residue = topology.addResidue("EOH", topology.addChain())
    for z in molecule.numbers:
        topology.addAtom("", app.Element.getByAtomicNumber(int(z)), residue)
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, **settings)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
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
    with pytest.raises(ValueError, match="at least 1 and 2"):
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
    with pytest.raises(ValueError, match="is periodic, and the training module"):
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
