"""Quantum-mechanical trajectories of molecules of a few atoms, with the programs themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from kstep_integrators import units
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_training.prep.molecules import conformers, hydrogenated
from kstep_training.prep.prepared import Prepared, topology
from kstep_training.simulate.ase_dynamics import FMAX, ASEEngine
from kstep_training.simulate.engine import Run, TrajectoryEnded
from kstep_training.simulate.parts import distorted, equilibrate, segment
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.trajectory import Trajectory

PREP = {"forcefield": "mmff94", "constraints": "HBonds"}


def run_of(smiles: str, number: int = 0, failed: Path = Path("failed"), **settings: Any) -> Run:
    times = {"equilibration_ps": 0.01, "segment_ps": 0.01, "refresh_ps": 0.005}
    mol = hydrogenated(smiles)
    prepared = Prepared("molecule", topology(mol), None, tuple(conformers(smiles, 4)))
    chosen = SimulateSettings(**{"physics": "GFN2-xTB", **times, **settings})
    return Run(prepared, PREP, chosen, 300.0, number, failed)


def calculator(run: Run) -> Any:
    charge = run.prepared.conformers[0].info["charge"]
    if run.settings.physics == "pyscf":
        return PySCFCalculator("hf", basis="sto-3g", charge=charge, device="cpu")
    return xtb_calculator(run.settings.physics, charge)


def total(trajectory: Trajectory) -> Any:
    kinetic = 0.5 * (trajectory.masses[:, None] * trajectory.velocities**2).sum(axis=(1, 2))
    return kinetic + trajectory.energies


METHODS = {"GFN2-xTB": "O", "GFN1-xTB": "O", "GFN-FF": "CO", "pyscf": "[H][H]"}
PACKAGES = {"GFN2-xTB": "tblite", "GFN1-xTB": "tblite", "GFN-FF": "xtb", "pyscf": "pyscf"}


@pytest.fixture(scope="module", params=METHODS)
def run(request: pytest.FixtureRequest) -> Run:
    return run_of(METHODS[request.param], physics=request.param)


@pytest.fixture(scope="module")
def chain(run: Run) -> tuple[Trajectory, Trajectory, Trajectory]:
    start = equilibrate(run)
    first = segment(run, start.positions[0], start, 0)
    return start, first, segment(run, start.positions[0], first, 1)


def test_what_is_recorded(run: Run, chain: tuple[Trajectory, ...]) -> None:
    start, first, second = chain
    assert start.metadata["timestep_fs"] == first.metadata["timestep_fs"] == 0.25
    assert len(start) == len(first) == len(second) == 41
    np.testing.assert_allclose(np.diff(first.time), 0.25 * units.FS, rtol=1e-9)
    assert first.time[0] == second.time[0] == 0.0
    expected = {"GFN2-xTB": "GFN2-xTB", "pyscf": "hf/sto-3g"}.get(run.settings.physics)
    assert first.metadata["method"] == (expected or run.settings.physics)
    assert first.metadata["constraints"] is None  # those of prep are the force field's
    assert first.metadata["interval_steps"] == 1
    assert set(first.metadata["versions"]) == {PACKAGES[run.settings.physics], "ase"}
    assert [t.metadata["stage"] for t in chain] == ["equilibration", *2 * ["production"]]
    assert [t.metadata.get("segment") for t in chain] == [None, 0, 1]


def test_it_begins_at_a_minimum_of_the_method(chain: tuple[Trajectory, ...]) -> None:
    assert np.linalg.norm(chain[0].forces[0], axis=1).max() < FMAX
    assert np.linalg.norm(chain[0].forces[-1], axis=1).max() > FMAX


def test_labels_are_those_of_the_method(run: Run, chain: tuple[Trajectory, ...]) -> None:
    atoms = run.prepared.conformers[0].copy()
    atoms.calc = calculator(run)
    atoms.get_potential_energy()  # GFN-FF takes its bonds from here
    for trajectory in chain:
        atoms.positions = trajectory.positions[-1]
        # Warm and cold starts of an SCF differ in the fourth digit.
        assert trajectory.energies[-1] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(trajectory.forces[-1], atoms.get_forces(), atol=2e-3)


def test_a_segment_conserves_energy_and_momentum(chain: tuple[Trajectory, ...]) -> None:
    for trajectory in chain[1:]:
        assert np.ptp(total(trajectory)) < 2e-3
        assert np.ptp(trajectory.energies) > 5 * np.ptp(total(trajectory))
        momenta = np.einsum("a,tax->tx", trajectory.masses, trajectory.velocities)
        np.testing.assert_allclose(momenta - momenta[0], 0.0, atol=2e-3)
        assert np.linalg.norm(momenta[0]) > 0.01  # the thermostat's are kept
        np.testing.assert_allclose(trajectory.masses @ trajectory.positions[0], 0.0, atol=1e-6)


def test_velocities_belong_to_the_positions_of_their_frame(chain: tuple[Trajectory, ...]) -> None:
    """In a step of velocity Verlet, x' = x + h v + h^2 F / 2m and v' = v + h (F + F') / 2m."""
    _, first, _ = chain
    x, v, h = first.positions, first.velocities, 0.25 * units.FS
    a = first.forces / first.masses[:, None]
    np.testing.assert_allclose(x[1:], x[:-1] + h * v[:-1] + h**2 * a[:-1] / 2, atol=1e-12)
    np.testing.assert_allclose(v[1:], v[:-1] + h * (a[1:] + a[:-1]) / 2, atol=1e-12)


def test_a_segment_goes_on_and_can_be_made_again(run: Run, chain: tuple[Trajectory, ...]) -> None:
    start, first, second = chain
    centre = np.average(start.positions[-1], axis=0, weights=start.masses)
    np.testing.assert_allclose(first.positions[0], start.positions[-1] - centre, atol=1e-12)
    np.testing.assert_allclose(first.velocities[0], start.velocities[-1], atol=1e-12)
    assert 1e-4 < abs(second.positions[0] - first.positions[-1]).max() < 1.0
    again = segment(run, start.positions[0], first, 1)
    np.testing.assert_array_equal(again.positions, second.positions)
    np.testing.assert_array_equal(again.forces, second.forces)


def test_number_temperature_and_seed() -> None:
    run = run_of("O", equilibration_ps=0.001)
    first = equilibrate(run)
    np.testing.assert_array_equal(equilibrate(run).positions, first.positions)
    for other in (
        dataclasses.replace(run, number=1),
        dataclasses.replace(run, temperature=301.0),
        run_of("O", equilibration_ps=0.001, seed=1),
    ):
        result = equilibrate(other)
        np.testing.assert_array_equal(result.positions[0], first.positions[0])  # one conformer
        assert abs(result.velocities[0] - first.velocities[0]).max() > 1e-3
    several = run_of("OCCO", equilibration_ps=0.001)
    assert len(several.prepared.conformers) > 1
    engine = ASEEngine(several)
    assert abs(engine.relaxed(0) - engine.relaxed(1)).max() > 0.1


def test_langevin_production() -> None:
    run = run_of("O", production="langevin", production_friction_per_ps=20.0, interval_steps=3)
    start = equilibrate(run)
    first = segment(run, start.positions[0], start, 0)
    second = segment(run, start.positions[0], first, 1)
    # Forty steps are no whole number of intervals: one is made whole.
    np.testing.assert_allclose(first.time, 0.75 * units.FS * np.arange(15), rtol=1e-9)
    assert first.metadata["interval_steps"] == 3
    centre = np.average(first.positions[-1], axis=0, weights=first.masses)
    np.testing.assert_allclose(second.positions[0], first.positions[-1] - centre, atol=1e-12)
    np.testing.assert_array_equal(second.velocities[0], first.velocities[-1])
    assert np.ptp(total(first)) > 5e-3  # a thermostat is at work
    weak = run_of("O", production="langevin", production_friction_per_ps=1e-6)
    assert np.ptp(total(segment(weak, start.positions[0], start, 0))) < 2e-3


def test_friction_per_picosecond() -> None:
    """Without noise the velocity of the centre of mass decays as exp(-friction t)."""
    run = dataclasses.replace(run_of("O"), temperature=1e-12)
    engine = ASEEngine(run)
    x = run.prepared.conformers[0].positions
    engine.langevin(x, np.full_like(x, 0.01), 50.0, seed=1)
    engine.step(40)  # 0.01 ps
    v = np.average(engine.frame().velocities, axis=0, weights=engine.masses)
    np.testing.assert_allclose(v, 0.01 * np.exp(-0.5), rtol=1e-3)


def test_langevin_keeps_the_temperature() -> None:
    settings = {"timestep_fs": 0.5, "equilibration_ps": 2.5, "friction_per_ps": 200.0}
    run = run_of("[H][H]", physics="GFN-FF", **settings)
    result = equilibrate(run)
    v = result.velocities[5:]
    temperature = (result.masses[:, None] * v**2).sum(axis=(1, 2)) / (6 * units.KB)
    # Frames are 25 fs apart, five times the decay time of the velocities: independent.
    error = temperature.std(ddof=1) / np.sqrt(len(temperature))
    assert abs(temperature.mean() - 300.0) < 3.0 * error
    assert error < 30.0


def test_distorted_copies(chain: tuple[Trajectory, ...], run: Run) -> None:
    settings = dataclasses.replace(run.settings, distorted_fraction=0.1, distortions=[0.02])
    run = dataclasses.replace(run, settings=settings)
    production = chain[1:]
    copies = distorted(run, production)
    assert copies is not None
    assert len(copies) == 8  # of 82
    assert copies.metadata["stage"] == "distorted"
    for array in (copies.velocities, copies.temperature, copies.time):
        assert not array.any()
    frames = np.concatenate([t.positions for t in production])
    shifts = copies.positions[:, None] - frames
    nearest = np.sqrt((shifts**2).mean(axis=(2, 3)).min(axis=1))
    assert 0.005 < nearest.mean() < 0.03
    atoms = run.prepared.conformers[0].copy()
    atoms.calc = calculator(run)
    atoms.get_potential_energy()
    atoms.positions = copies.positions[3]
    assert copies.energies[3] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    again = distorted(run, production)
    assert again is not None
    np.testing.assert_array_equal(again.forces, copies.forces)


def test_distorted_copies_with_absurd_forces_are_left_out() -> None:
    run = run_of("O", distorted_fraction=0.2, distortions=[1e-3, 1.0])
    start = equilibrate(run)
    copies = distorted(run, [start])
    assert copies is not None
    assert 0 < len(copies) < 8
    assert abs(copies.forces).max() < 40.0
    rare = dataclasses.replace(
        run, settings=dataclasses.replace(run.settings, distorted_fraction=0.001)
    )
    assert distorted(rare, [start]) is None


def test_an_ion_is_labelled_with_its_charge() -> None:
    for method in ("GFN2-xTB", "GFN-FF", "pyscf"):
        run = run_of("[OH-]", physics=method, equilibration_ps=0.001)
        result = equilibrate(run)
        atoms = Atoms("OH", result.positions[0])
        atoms.info["charge"] = -1
        atoms.calc = calculator(run)
        if method == "GFN-FF":
            atoms.calc = xtb_calculator(method, -1)
        assert result.energies[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-3)
        assert result.metadata["charge"] == -1


def test_a_functional() -> None:
    run = run_of("[H][H]", physics="pyscf", xc="lda", basis="6-31g", equilibration_ps=0.0005)
    result = equilibrate(run)
    assert result.metadata["method"] == "lda/6-31g"
    atoms = Atoms("H2", result.positions[0], calculator=PySCFCalculator(xc="lda", basis="6-31g"))
    assert result.energies[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)


def test_an_scf_that_fails_ends_the_trajectory(tmp_path: Path) -> None:
    run = run_of("O", physics="pyscf", failed=tmp_path / "failed")
    engine = ASEEngine(run)
    calc: Any = engine.atoms.calc
    calc.set(max_cycle=1)
    start = run.prepared.conformers[0].positions
    with pytest.raises(TrajectoryEnded, match="while the conformer was relaxed"):
        engine.relaxed(0)
    engine.verlet(start, 0 * start)
    with pytest.raises(TrajectoryEnded, match=r"after 0\.000 ps"):
        engine.step(1)
    with pytest.raises(TrajectoryEnded, match=r"after 0\.000 ps"):
        engine.label(start)
    assert list((tmp_path / "failed").glob("pyscf-failed-*.extxyz"))


def test_a_time_step_that_is_too_long_ends_the_trajectory() -> None:
    with pytest.raises(TrajectoryEnded):
        equilibrate(run_of("O", timestep_fs=8.0, equilibration_ps=1.0))


def test_steps_before_any_dynamics() -> None:
    with pytest.raises(RuntimeError, match="no dynamics has begun"):
        ASEEngine(run_of("O")).step(1)


def test_gfnff_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    equilibrate(run_of("CO", physics="GFN-FF", equilibration_ps=0.001))
    assert not list(tmp_path.iterdir())
