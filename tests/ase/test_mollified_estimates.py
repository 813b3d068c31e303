"""Estimates of mollified runs: where they are shown, what they cost, and how good they are."""

import math
import re

import numpy as np
import pytest
from ase.io import Trajectory, read
from ase.md import MDLogger

from tests.ase.mollified_runs import FS, energies_of, run_of, truth
from tests.conftest import cheap


def test_the_log_says_how_good_the_estimates_are(tmp_path):
    dynamics = run_of(logfile=tmp_path / "md.log", verify_interval=2)
    errors = []
    for _ in range(4):
        dynamics.run(1)
        there = truth(dynamics.atoms).get_potential_energy()
        errors.append(1e3 * (dynamics.estimates().get_potential_energy() - there) / 9)
    pattern = r"# step (\d): the estimated energy is off by (\S+) meV/atom \(rms of (\d): (\S+)\)"
    said = re.findall(pattern, (tmp_path / "md.log").read_text())
    assert [(int(step), int(count)) for step, _, count, _ in said] == [(2, 1), (4, 2)]
    assert [float(error) for _, error, _, _ in said] == pytest.approx(errors[1::2], abs=6e-4)
    both = math.hypot(errors[1], errors[3]) / math.sqrt(2.0)
    assert float(said[1][3]) == pytest.approx(both, abs=6e-4)
    assert (
        f"conserved energy {dynamics.get_conserved_energy():.6f} eV"
        in ((tmp_path / "md.log").read_text().splitlines()[-2])
    )


def test_log_and_trajectory_show_estimates_and_cost_nothing(tmp_path):
    dynamics = run_of(trajectory=tmp_path / "md.traj", logfile=tmp_path / "md.log")
    shown = []
    dynamics.attach(lambda: shown.append(dynamics.estimates()))
    dynamics.run(5)
    assert dynamics.atoms.calc.evaluations == 6
    frames = read(tmp_path / "md.traj", ":")
    lines = (tmp_path / "md.log").read_text().splitlines()[1:]
    assert len(frames) == len(lines) == len(shown) == 6
    for frame, line, known in zip(frames, lines, shown, strict=True):
        assert frame.info["estimated"] == "energy, forces"
        energy = frame.get_potential_energy()
        assert energy == known.get_potential_energy()
        np.testing.assert_array_equal(frame.get_forces(), known.get_forces())
        assert float(line.split()[2]) == pytest.approx(energy, abs=1e-3)
        real = truth(frame)
        assert 0.0 < abs(real.get_potential_energy() - energy) < 0.1
        forces = real.get_forces()
        assert abs(forces - frame.get_forces()).max() < 0.3 * abs(forces).max()
    assert dynamics.atoms.calc.evaluations == 6
    assert "estimated" not in dynamics.atoms.info


def test_frames_of_impulses_say_nothing_of_estimates(tmp_path):
    dynamics = run_of(corrector="impulse", verify_interval=None, trajectory=tmp_path / "md.traj")
    dynamics.run(3)
    assert dynamics.estimates() is None
    for frame in read(tmp_path / "md.traj", ":"):
        assert "estimated" not in frame.info
        assert frame.get_potential_energy() == truth(frame).get_potential_energy()


def test_strides_of_2_fs_are_computed_and_not_estimated(tmp_path):
    dynamics = run_of(k=8, verify_interval=1, trajectory=tmp_path / "md.traj")
    dynamics.run(3)
    other = run_of(k=8, corrector="impulse", verify_interval=None)
    other.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions, other.atoms.positions)
    assert dynamics.stats.verifications == 0
    assert dynamics.stats.estimate_error is None
    assert dynamics.atoms.calc.evaluations == 4
    for frame in read(tmp_path / "md.traj", ":"):
        assert "estimated" not in frame.info
        assert frame.get_potential_energy() == truth(frame).get_potential_energy()


def test_forces_asked_by_the_user_are_one_real_evaluation_and_disturb_nothing():
    plain, asked = run_of(), run_of()
    plain.run(6)
    asked.run(3)
    before = asked.atoms.calc.evaluations
    forces = asked.atoms.get_forces()
    energy = asked.atoms.get_potential_energy()
    assert asked.atoms.calc.evaluations == before + 1
    real = truth(asked.atoms)
    np.testing.assert_array_equal(forces, real.get_forces())
    assert energy == real.get_potential_energy()
    asked.run(3)
    assert asked.atoms.calc.evaluations == 7 + 1
    assert asked.stats.physics_evaluations == plain.stats.physics_evaluations == 7
    np.testing.assert_array_equal(asked.atoms.positions, plain.atoms.positions)
    np.testing.assert_array_equal(asked.atoms.get_momenta(), plain.atoms.get_momenta())


def test_an_observer_that_asks_at_each_step_disturbs_nothing():
    plain, asked = run_of(), run_of()
    asked.attach(lambda: asked.atoms.get_forces())
    plain.run(5)
    asked.run(5)
    np.testing.assert_array_equal(asked.atoms.positions, plain.atoms.positions)
    assert asked.stats.physics_evaluations == 6
    assert asked.atoms.calc.evaluations == 6 + 6


def test_outputs_of_the_users_own_never_pass_one_geometry_for_another(tmp_path):
    """ASE's logger makes a real evaluation each time; its trajectory has no energy of elsewhere."""
    plain, dynamics = run_of(), run_of()
    with (
        MDLogger(dynamics, dynamics.atoms, str(tmp_path / "own.log")) as log,
        Trajectory(tmp_path / "own.traj", "w", dynamics.atoms) as frames,
    ):
        dynamics.attach(frames.write)
        dynamics.run(2)
        assert dynamics.atoms.calc.evaluations == 3
        dynamics.attach(log)
        dynamics.run(2)
    assert dynamics.atoms.calc.evaluations == 5 + 2
    assert dynamics.stats.physics_evaluations == 5
    for frame in read(tmp_path / "own.traj", ":"):
        if frame.calc is not None and "energy" in frame.calc.results:
            assert frame.get_potential_energy() == truth(frame).get_potential_energy()
    last = (tmp_path / "own.log").read_text().splitlines()[-1]
    real = truth(dynamics.atoms).get_potential_energy()
    assert float(last.split()[2]) == pytest.approx(real, abs=1e-3)
    plain.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_the_error_of_estimates_by_hand():
    dynamics = run_of(verify_interval=1)
    errors = []
    for _ in range(5):
        dynamics.run(1)
        known = dynamics.estimates()
        errors.append(known.get_potential_energy() - truth(known).get_potential_energy())
    by_hand = math.sqrt(np.mean(np.square(errors)))
    assert dynamics.stats.estimate_error == pytest.approx(by_hand, rel=1e-9)
    assert by_hand > 1e-4


def test_the_conserved_energy_is_conserved_better_than_the_estimated_one():
    dynamics = run_of(model=cheap(depth=1.5))
    conserved, shown = energies_of(dynamics, 60)
    assert dynamics.atoms.calc.evaluations == 61
    assert np.std(conserved) < 0.003
    assert np.std(shown) > 2.0 * np.std(conserved)
    # V(x) + D(A) and the estimate differ by the work of the residual from A to x alone.
    assert abs(np.mean(shown) - np.mean(conserved)) < 0.02


def test_the_conserved_energy_counts_the_heat_of_a_bath():
    bath = {"temperature_K": 300, "friction": 0.1 / FS}
    dynamics = run_of(rng=np.random.default_rng(0), **bath)
    conserved, _ = energies_of(dynamics, 40)
    assert abs(dynamics.transferred_energy) > 0.1
    assert np.ptp(conserved) < 0.005
