"""Equilibration and NVE segments of single molecules, with OpenMM itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import openmm
import pytest

from kstep_integrators import units
from kstep_training.options import override
from kstep_training.prep.molecules import conformers, hydrogenated
from kstep_training.prep.prepared import Prepared, topology
from kstep_training.prep.systems import build_system
from kstep_training.simulate.engine import Run, TrajectoryEnded
from kstep_training.simulate.mm_dynamics import MMEngine
from kstep_training.simulate.parts import distorted, equilibrate, segment
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.trajectory import Trajectory

SHORT = SimulateSettings(equilibration_ps=0.2, segment_ps=0.1, refresh_ps=0.05, seed=3)


def run_of(
    smiles: str, settings: SimulateSettings = SHORT, constraints: str | None = None, number: int = 0
) -> Run:
    mol = hydrogenated(smiles)
    system = build_system(mol, constraints=constraints)
    prepared = Prepared("molecule", topology(mol), system, tuple(conformers(smiles, 4)))
    prep = {"forcefield": "mmff94", "constraints": constraints}
    return Run(prepared, prep, settings, 300.0, number)


@pytest.fixture(scope="module", params=[None, "HBonds"])
def run(request: pytest.FixtureRequest) -> Run:
    return run_of("CO", constraints=request.param)


@pytest.fixture(scope="module")
def chain(run: Run) -> tuple[Trajectory, Trajectory, Trajectory]:
    start = equilibrate(run)
    x = start.positions[0]
    first = segment(run, x, start, 0)
    return start, first, segment(run, x, first, 1)


def kinetic(trajectory: Trajectory) -> np.ndarray[Any, Any]:
    return 0.5 * (trajectory.masses[:, None] * trajectory.velocities**2).sum(axis=(1, 2))


def test_steps_and_frames(run: Run, chain: tuple[Trajectory, ...]) -> None:
    start, first, second = chain
    step = 2.0 if run.prep["constraints"] else 0.5
    assert start.metadata["timestep_fs"] == step
    assert len(first) == len(second) == 1 + 0.1 / step * 1000
    np.testing.assert_allclose(np.diff(first.time), step * units.FS, rtol=1e-9)
    assert first.time[0] == second.time[0] == 0.0
    np.testing.assert_allclose(start.time[-1], 200.0 * units.FS, rtol=1e-9)
    assert 95 <= len(start) <= 105
    assert (start.temperature == 300.0).all()
    assert first.has_label.all()
    assert [t.metadata.get("segment") for t in chain] == [None, 0, 1]
    assert first.metadata["method"] == "mmff94"
    assert first.metadata["smiles"] == "CO"


def test_a_segment_conserves_energy_and_momentum(chain: tuple[Trajectory, ...]) -> None:
    _, first, second = chain
    for trajectory in (first, second):
        total = kinetic(trajectory) + trajectory.energies
        assert np.ptp(total) < 0.03  # eV; the potential energy alone varies several times as much
        assert np.ptp(trajectory.energies) > 3 * np.ptp(total)
        momenta = trajectory.masses[:, None] * trajectory.velocities
        change = momenta.sum(axis=1) - momenta[0].sum(axis=0)
        np.testing.assert_allclose(change, 0.0, atol=1e-6)
        np.testing.assert_allclose(trajectory.masses @ trajectory.positions[0], 0.0, atol=1e-6)


def test_velocities_belong_to_the_positions_of_their_frame(chain: tuple[Trajectory, ...]) -> None:
    """A leapfrog's would be half a step, some 10 % of the change over a period, off."""
    _, first, _ = chain
    x, v, t = first.positions, first.velocities, first.time
    central = (x[2:] - x[:-2]) / (t[2:] - t[:-2])[:, None, None]
    backward = (x[1:-1] - x[:-2]) / (t[1:-1] - t[:-2])[:, None, None]
    error = abs(central - v[1:-1]).max()
    assert error < 0.2 * abs(backward - v[1:-1]).max()


def test_labels_are_those_of_the_system(run: Run, chain: tuple[Trajectory, ...]) -> None:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(run.prepared.system, openmm.VerletIntegrator(0.001), platform)
    for trajectory in chain:
        context.setPositions(trajectory.positions[-1] / units.NM)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy()._value * units.KJ_PER_MOL
        forces = state.getForces(asNumpy=True)._value * units.KJ_PER_MOL_NM
        assert trajectory.energies[-1] == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(trajectory.forces[-1], forces, atol=1e-6)


def test_constrained_bonds_keep_their_length(run: Run, chain: tuple[Trajectory, ...]) -> None:
    # Methanol's atoms are C, O, three H of carbon, H of oxygen.
    for trajectory in chain:
        lengths = np.linalg.norm(trajectory.positions[:, 5] - trajectory.positions[:, 1], axis=1)
        if run.prep["constraints"]:
            np.testing.assert_allclose(lengths, 0.972, atol=1e-6)
            if trajectory.metadata["stage"] == "production":
                bond = trajectory.positions[:, 5] - trajectory.positions[:, 1]
                speed = trajectory.velocities[:, 5] - trajectory.velocities[:, 1]
                np.testing.assert_allclose((bond * speed).sum(axis=1), 0.0, atol=1e-6)
        else:
            assert np.ptp(lengths) > 0.01


def test_a_segment_goes_on_from_the_part_before(run: Run, chain: tuple[Trajectory, ...]) -> None:
    start, first, second = chain
    centre = np.average(start.positions[-1], axis=0, weights=start.masses)
    np.testing.assert_allclose(first.positions[0], start.positions[-1] - centre, atol=1e-6)
    # Langevin's velocities are of half a step ago, when constrained bonds pointed elsewhere.
    tolerance = 0.05 if run.prep["constraints"] else 1e-6
    np.testing.assert_allclose(first.velocities[0], start.velocities[-1], atol=tolerance)
    assert kinetic(first)[0] == pytest.approx(kinetic(start)[-1], rel=0.02)
    # 50 fs of Langevin dynamics: another state, but not another molecule.
    last = first.positions[-1] - np.average(first.positions[-1], axis=0, weights=first.masses)
    assert 0.01 < abs(second.positions[0] - last).max() < 3.0
    again = segment(run, start.positions[0], first, 1)
    np.testing.assert_array_equal(again.positions, second.positions)


def test_trajectories_differ_by_number_and_seed() -> None:
    starts = [equilibrate(run_of("OCCO", number=number)) for number in (0, 1)]
    other = equilibrate(run_of("OCCO", dataclasses.replace(SHORT, seed=4)))
    assert abs(starts[0].positions[0] - starts[1].positions[0]).max() > 0.1  # other conformers
    np.testing.assert_array_equal(other.positions[0], starts[0].positions[0])
    assert abs(other.velocities[0] - starts[0].velocities[0]).max() > 1e-3


def test_langevin_production_and_distorted_copies() -> None:
    """Of a constrained molecule: segments lie on the constraints, copies do not."""
    langevin = dataclasses.replace(
        SHORT, production="langevin", production_friction_per_ps=50.0, distorted_fraction=0.5
    )
    run = run_of("CO", langevin, "HBonds")
    start = equilibrate(run)
    first = segment(run, start.positions[0], start, 0)
    second = segment(run, start.positions[0], first, 1)
    total = kinetic(first) + first.energies
    assert np.ptp(total) > 0.1  # a thermostat is at work
    centre = np.average(first.positions[-1], axis=0, weights=first.masses)
    np.testing.assert_allclose(second.positions[0], first.positions[-1] - centre, atol=1e-6)
    lengths = np.linalg.norm(second.positions[:, 5] - second.positions[:, 1], axis=1)
    np.testing.assert_allclose(lengths, 0.972, atol=1e-6)
    copies = distorted(run, [first, second])
    assert copies is not None
    assert len(copies) <= 51
    lengths = np.linalg.norm(copies.positions[:, 5] - copies.positions[:, 1], axis=1)
    assert lengths.std() > 0.02
    assert copies.metadata["stage"] == "distorted"
    assert abs(copies.forces).max() < 40.0
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(run.prepared.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(copies.positions[0] / units.NM)
    energy = context.getState(energy=True).getPotentialEnergy()._value * units.KJ_PER_MOL
    assert copies.energies[0] == pytest.approx(energy, abs=1e-8)


def test_friction_per_picosecond() -> None:
    """Without noise the velocity of the centre of mass decays as exp(-friction t)."""
    engine = MMEngine(dataclasses.replace(run_of("CO"), temperature=1e-12))
    x = engine.relaxed(0)
    engine.langevin(x, np.full_like(x, 0.01), 50.0, seed=1)
    engine.step(20)  # 0.01 ps
    v = np.average(engine.frame().velocities, axis=0, weights=engine.masses)
    np.testing.assert_allclose(v, 0.01 * np.exp(-0.5), rtol=1e-3)


def test_a_molecule_without_a_system_is_refused_by_name() -> None:
    run = run_of("CO")
    run = dataclasses.replace(run, prepared=dataclasses.replace(run.prepared, system=None))
    with pytest.raises(ValueError, match=r"molecule has no system\.xml, which physics=mm needs"):
        equilibrate(run)


def test_equilibration_reaches_the_temperature() -> None:
    settings = SimulateSettings(equilibration_ps=20.0, friction_per_ps=20.0)
    result = kinetic(equilibrate(run_of("O", settings)))[1:]
    temperature = 2.0 * result / (9 * units.KB)
    # Frames are 0.2 ps apart, four times the decay time of the velocities: independent.
    error = temperature.std(ddof=1) / np.sqrt(len(temperature))
    assert abs(temperature.mean() - 300.0) < 3.0 * error
    assert error < 20.0


def test_a_time_step_that_is_too_long_explodes() -> None:
    with pytest.raises(TrajectoryEnded):
        equilibrate(run_of("CO", dataclasses.replace(SHORT, timestep_fs=15.0)))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trajectories=0", "trajectories is 0, expected at least 1"),
        ("segments=0", "segments is 0"),
        ("interval_steps=0", "interval_steps is 0"),
        ("segment_ps=-1", r"segment_ps is -1\.0, expected a positive number"),
        ("refresh_ps=inf", "refresh_ps is inf"),
        ("equilibration_ps=nan", "equilibration_ps is nan"),
        ("friction_per_ps=0", "friction_per_ps is 0"),
        ("temperatures=[300,0]", "expected positive ones, in K"),
        ("temperatures=[]", "expected positive ones, in K"),
        ("temperatures=[300,500,300]", "expected ones that differ"),
        ("timestep_fs=0", "timestep_fs is 0"),
        ("timestep_fs=inf", "timestep_fs is inf"),
        ("production_friction_per_ps=0", "production_friction_per_ps is 0"),
        (
            "physics=xtb",
            "physics is 'xtb', expected one of GFN2-xTB, GFN1-xTB, GFN-FF, pyscf, EMT, LJ, mm",
        ),
        ("basis=def2-svp", "basis is 'def2-svp' and physics is 'mm', .* needs physics=pyscf"),
        ("xc=pbe", "xc is 'pbe'"),
        ("production=npt", "production is 'npt', expected nve or langevin"),
        ("distortions=[]", "distortions are"),
        ("distorted_fraction=-1", "distorted_fraction is -1"),
        ("seed=-1", "seed is -1"),
    ],
)
def test_settings_are_checked(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(SimulateSettings, [word])


def test_settings_from_the_command_line() -> None:
    result = override(SimulateSettings, ["temperatures=[300,500]", "timestep_fs=1", "segments=2"])
    assert result == SimulateSettings(temperatures=[300.0, 500.0], segments=2, timestep_fs=1.0)
