"""KStepDynamics as a user of ASE would expect it to behave."""

import io

import numpy as np
import pytest
from ase import units
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCom
from ase.io import read
from ase.md.logger import MDLogger
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from kstep_integrators import (
    CalculatorPotential,
    KStepDynamics,
    KStepWarning,
)
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, physics, potential

FS = units.fs


@pytest.mark.parametrize("corrector", ["impulse", "filtered", "none"])
@pytest.mark.parametrize("k", [1, 8])
def test_an_oracle_jump_is_velocity_verlet(corrector, k, atoms):
    other = atoms.copy()
    other.calc = physics()
    KStepDynamics(atoms, cheap(), k=k, corrector=corrector).run(25)
    VelocityVerlet(other, 0.25 * FS).run(25 * k)
    assert abs(atoms.positions - other.positions).max() < 1e-10
    assert abs(atoms.get_momenta() - other.get_momenta()).max() < 1e-10


def test_without_inner_forces_the_impulse_method_is_verlet_at_the_stride(atoms):
    other = atoms.copy()
    other.calc = physics()
    free = CalculatorPotential(LennardJones(epsilon=0.0))
    KStepDynamics(atoms, free, k=4, corrector="impulse").run(25)
    VelocityVerlet(other, 1.0 * FS).run(25)
    assert abs(atoms.positions - other.positions).max() < 1e-10


@pytest.mark.parametrize("bath", [{}, {"temperature_K": 300, "friction": 0.01 / FS}])
def test_n_jumps_cost_n_plus_one_evaluations(bath, atoms, tmp_path):
    seen = []
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.8), k=4, **bath, rng=np.random.default_rng(0),
        trajectory=str(tmp_path / "md.traj"), logfile=str(tmp_path / "md.log"), loginterval=2,
    )  # fmt: skip
    dynamics.attach(lambda: seen.append(atoms.get_total_energy()), interval=1)
    dynamics.attach(lambda: atoms.get_forces(), interval=3)
    dynamics.attach(MDLogger(dynamics, atoms, io.StringIO()), interval=1)
    dynamics.run(12)
    assert atoms.calc.evaluations == 13
    assert dynamics.stats.jumps == 12
    assert dynamics.stats.physics_evaluations == 13
    assert len(seen) == 13
    dynamics.run(5)
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 18
    frames = read(tmp_path / "md.traj", ":")
    assert len(frames) == 9
    assert frames[-1].get_potential_energy() == pytest.approx(float(seen[-2]), abs=10)
    log = (tmp_path / "md.log").read_text().splitlines()
    assert len(log) == 10
    assert float(log[-1].split()[0]) == pytest.approx(16 * 4 * 0.25e-3, abs=1e-4)


def test_energies_in_the_trajectory_belong_to_its_positions(atoms, tmp_path):
    KStepDynamics(atoms, cheap(depth=1.5), k=4, trajectory=str(tmp_path / "md.traj")).run(6)
    for frame in read(tmp_path / "md.traj", ":"):
        again = frame.copy()
        again.calc = physics()
        assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-9)


def test_append_trajectory(atoms, tmp_path):
    path = str(tmp_path / "md.traj")
    KStepDynamics(atoms, cheap(), k=2, trajectory=path).run(3)
    KStepDynamics(atoms, cheap(), k=2, trajectory=path, append_trajectory=True).run(3)
    assert len(read(path, ":")) == 8
    with pytest.warns(KStepWarning, match=r"md\.traj exists and is begun anew, as in ASE"):
        KStepDynamics(atoms, cheap(), k=2, trajectory=path).run(1)
    assert len(read(path, ":")) == 2


def test_the_trajectory_describes_the_run(atoms, tmp_path):
    from ase.io.trajectory import Trajectory

    path = str(tmp_path / "md.traj")
    dynamics = KStepDynamics(
        atoms, cheap(), k=4, temperature_K=300, friction=0.01 / FS, trajectory=path
    )
    dynamics.run(1)
    with Trajectory(path) as trajectory:
        described = trajectory.description
    assert described["md-type"] == "KStepDynamics"
    assert described["k"] == 4
    assert described["corrector"] == "impulse"
    assert described["temperature_K"] == 300
    assert described["timestep"] == pytest.approx(1.0 * FS)
    assert described["base_timestep"] == pytest.approx(0.25 * FS)
    assert described["thermostat"] == "langevin"
    bath = {"thermostat": "bussi", "temperature_K": 300.0, "taut": 50.0}
    for arguments, expected in ((bath, bath), ({}, {"thermostat": None})):
        path = str(tmp_path / f"{arguments.get('thermostat')}.traj")
        KStepDynamics(atoms, cheap(), **arguments, trajectory=path).run(1)
        with Trajectory(path) as trajectory:
            assert expected.items() <= trajectory.description.items()


def test_same_seed_same_path(atoms):
    ends = []
    for seed in (5, 5, 6):
        copy = atoms.copy()
        copy.calc = physics()
        rng = np.random.default_rng(seed)
        KStepDynamics(copy, cheap(), temperature_K=300, friction=0.05 / FS, rng=rng).run(10)
        ends.append(copy.positions)
    np.testing.assert_array_equal(ends[0], ends[1])
    assert abs(ends[0] - ends[2]).max() > 1e-3


def test_running_on_is_running_through(atoms):
    other = atoms.copy()
    other.calc = physics()
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4)
    dynamics.run(4)
    dynamics.run(6)
    KStepDynamics(other, cheap(depth=1.9), k=4).run(10)
    np.testing.assert_array_equal(atoms.positions, other.positions)
    assert dynamics.get_time() == pytest.approx(10 * 4 * 0.25 * FS)
    assert dynamics.nsteps == 10


def test_irun_and_base_class(atoms):
    dynamics = KStepDynamics(atoms, cheap(), k=4)
    assert isinstance(dynamics, MolecularDynamics)
    assert list(dynamics.irun(3)) == [False, False, False, True]


def test_atoms_that_a_user_edits_are_read_again(atoms):
    dynamics = KStepDynamics(atoms, cheap(depth=1.8), k=4)
    dynamics.run(3)
    atoms.set_momenta(np.zeros((9, 3)))
    dynamics.run(1)
    assert atoms.calc.evaluations == 5  # momenta cost nothing
    assert atoms.get_kinetic_energy() < 0.2
    atoms.positions += 0.01 * np.arange(27).reshape(9, 3)
    moved = atoms.copy()
    dynamics.run(2)
    assert atoms.calc.evaluations == 8  # one more, for the edited geometry
    moved.calc = physics()
    KStepDynamics(moved, cheap(depth=1.8), k=4).run(2)
    np.testing.assert_allclose(atoms.positions, moved.positions, atol=1e-12)


def test_a_new_calculator_or_mass_is_taken_up(atoms):
    dynamics = KStepDynamics(atoms, cheap(), k=4)
    dynamics.run(2)
    atoms.calc = CountingCalculator(physics(depth=4.0))
    masses = atoms.get_masses()
    masses[3:] = 2.014
    atoms.set_masses(masses)
    other = atoms.copy()
    dynamics.run(3)
    assert atoms.calc.evaluations == 4
    other.calc = physics(depth=4.0)
    KStepDynamics(other, cheap(), k=4).run(3)
    np.testing.assert_allclose(atoms.positions, other.positions, atol=1e-12)


def test_fixed_atoms_stay(atoms):
    atoms.set_constraint(FixAtoms([1, 5]))
    atoms.set_momenta(atoms.get_momenta())
    before = atoms.positions.copy()
    other = atoms.copy()
    other.calc = physics()
    KStepDynamics(atoms, cheap(), k=4, temperature_K=300, friction=0.02 / FS).run(20)
    np.testing.assert_array_equal(atoms.positions[[1, 5]], before[[1, 5]])
    assert abs(atoms.positions - before).max() > 0.01
    atoms.positions, atoms.calc = before, physics()
    atoms.set_momenta(other.get_momenta())
    KStepDynamics(atoms, cheap(), k=4).run(20)
    VelocityVerlet(other, 0.25 * FS).run(80)
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_the_centre_of_mass_stays(atoms):
    atoms.set_constraint(FixCom())
    before = atoms.get_center_of_mass()
    KStepDynamics(atoms, cheap(depth=1.8), k=4, temperature_K=500, friction=0.02 / FS).run(50)
    np.testing.assert_allclose(atoms.get_center_of_mass(), before, atol=1e-12)


def test_nve_conserves_momentum_and_angular_momentum(atoms):
    atoms.calc = physics()
    before = atoms.get_angular_momentum()
    KStepDynamics(atoms, potential(), k=4, timestep=0.1 * FS).run(20)
    assert abs(atoms.get_momenta().sum(0)).max() < 1e-9
    np.testing.assert_allclose(atoms.get_angular_momentum(), before, atol=1e-9)


def test_residual_and_energy_error_by_hand(atoms):
    atoms.calc = physics()
    dynamics = KStepDynamics(atoms, CalculatorPotential(LennardJones(epsilon=0.0)), k=1)
    e0 = atoms.get_potential_energy()
    dynamics.run(1)
    stats = dynamics.stats
    # the potential predicts no change and no force
    assert stats.energy_error == pytest.approx(abs(atoms.get_potential_energy() - e0), rel=1e-9)
    forces = atoms.get_forces()
    assert stats.residual_rms == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-9)
    assert KStepDynamics(atoms, cheap()).stats.residual_rms is None


def test_langevin_reaches_its_temperature(atoms):
    # equipartition: 3N/2 kT of kinetic energy, correlated over 2 / friction
    atoms.calc = physics()
    rng = np.random.default_rng(11)
    dynamics = KStepDynamics(
        atoms,
        cheap(depth=1.9),
        k=4,
        timestep=0.5 * FS,
        temperature_K=300,
        friction=0.1 / FS,
        rng=rng,
    )
    dynamics.run(200)
    samples = []
    dynamics.attach(lambda: samples.append(atoms.get_kinetic_energy()), interval=10)
    dynamics.run(3000)
    mean, error = np.mean(samples), np.std(samples) / np.sqrt(len(samples))
    assert abs(mean - 13.5 * units.kB * 300) < 3 * error
