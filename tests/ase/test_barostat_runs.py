"""Runs at constant pressure: stopped and resumed, interrupted, changed on the way, logged."""

import dataclasses
import io

import numpy as np
import pytest
from ase.io import read

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.ase.barostat_runs import FS, METROPOLIS, run_of_crystal
from tests.periodic_systems import Crystal, crystal

KINDS = {
    "isotropic": {},
    "anisotropic": {"barostat": "anisotropic", "barostat_interval": 2},
    "metropolized": {**METROPOLIS, "barostat": "semi-isotropic"},
    "bussi": {"thermostat": "bussi", "friction": None, "taut": 20 * FS},
}


def begin(folder, kind, calculator=None):
    folder.mkdir(exist_ok=True)
    atoms, _ = crystal()
    atoms.set_momenta(np.random.default_rng(2).normal(size=(4, 3)))
    return run_of_crystal(
        atoms=atoms, calculator=calculator, trajectory=folder / "md.traj",
        logfile=folder / "md.log", loginterval=2, checkpoint=folder / "run.ckpt",
        checkpoint_interval=3, **KINDS[kind],
    )  # fmt: skip


def numbers(stats):
    return dataclasses.replace(stats, jump_seconds=0.0, physics_seconds=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_as_if_it_had_not(kind, tmp_path):
    through = begin(tmp_path / "through", kind)
    through.run(17)
    for stop in (4, 9):
        folder = tmp_path / str(stop)
        stopped = begin(folder, kind)
        stopped.run(stop)
        sites = crystal()[1]
        resumed = KStepDynamics.resume(
            folder / "run.ckpt", CountingCalculator(Crystal(sites)),
            CalculatorPotential(Crystal(sites, spring=2.6, stiffness=0.0), 2 * FS),
        )  # fmt: skip
        resumed.run(17 - stop)
        for name in ("positions", "cell"):
            one, other = (np.array(getattr(run.atoms, name)) for run in (resumed, through))
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(resumed.atoms.get_momenta(), through.atoms.get_momenta())
        assert numbers(resumed.stats) == numbers(through.stats)
        assert resumed._run.volume.sizes == through._run.volume.sizes
        assert resumed.rng.bit_generator.state == through.rng.bit_generator.state
        assert resumed.transferred_energy == through.transferred_energy
        for name in ("md.traj", "md.log"):
            assert (folder / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
        evaluations = stopped.atoms.calc.evaluations + resumed.atoms.calc.evaluations
        assert evaluations == through.atoms.calc.evaluations
    assert through.stats.volume_accepted > 1
    frames = read(tmp_path / "through" / "md.traj", ":")
    assert len({frame.get_volume() for frame in frames}) > 3


def test_the_same_seed_is_the_same_path():
    ends = []
    for seed in (1, 1, 2):
        dynamics = run_of_crystal(rng=np.random.default_rng(seed))
        dynamics.run(10)
        ends.append(dynamics.atoms)
    np.testing.assert_array_equal(ends[0].positions, ends[1].positions)
    assert ends[0].get_volume() == ends[1].get_volume() != ends[2].get_volume()


def test_the_log_has_volume_density_and_acceptance_and_says_when_sizes_are_frozen():
    log = io.StringIO()
    dynamics = run_of_crystal(logfile=log, loginterval=10)
    dynamics.run(110)
    lines = log.getvalue().splitlines()
    assert lines[0].split()[-3:] == ["V[A^3]", "rho[g/cm3]", "acc[V]"]
    volume, density, accepted = (float(word) for word in lines[-1].split()[-3:])
    stats = dynamics.stats
    assert volume == pytest.approx(stats.volume, abs=1e-4)
    assert density == pytest.approx(stats.density, abs=1e-5)
    assert accepted == pytest.approx(stats.volume_accepted / 110, abs=1e-3)
    assert stats.volume_frozen == 100
    (said,) = [line for line in lines if line.startswith("# step 100")]
    assert "constant pressure starts here" in said


class Interrupted(Crystal):
    """Raises Ctrl-C at one of its calls."""

    def __init__(self, sites, at):
        super().__init__(sites)
        self.calls, self.at = 0, at

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


@pytest.mark.parametrize("at", [6, 7])
def test_an_interrupted_step_is_made_again_the_same(at):
    through = run_of_crystal()
    through.run(6)
    dynamics = run_of_crystal(calculator=Interrupted(crystal()[1], at))
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(6)
    assert dynamics.nsteps == 2
    energy, calls = dynamics.atoms.get_potential_energy(), dynamics.atoms.calc.calls
    assert energy == float(dynamics._run.point.physics.energy[0])
    assert dynamics.atoms.calc.calls == calls  # it stands where the run does
    dynamics.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, through.atoms.positions)
    np.testing.assert_array_equal(np.array(dynamics.atoms.cell), np.array(through.atoms.cell))


def test_a_move_whose_energy_fails_is_rejected_and_counted():
    sites = crystal()[1]
    dynamics = run_of_crystal(calculator=BrokenCalculator(Crystal(sites), [3]))
    volume = dynamics.atoms.get_volume()
    dynamics.run(1)
    assert dynamics.atoms.get_volume() == volume
    assert dynamics.stats.failures == 1
    assert dynamics.stats.last_problem.startswith("volume move: ")
    dynamics.run(20)
    assert dynamics.stats.volume_accepted > 0


def test_options_change_between_steps():
    dynamics = run_of_crystal(barostat_interval=2)
    dynamics.run(4)
    dynamics.run(2)
    sizes = dynamics._run.volume.sizes
    dynamics.pressure = 0.1
    assert dynamics._run.volume.tried == (0,)  # adapted anew
    assert dynamics._run.volume.sizes != sizes
    assert dynamics.stats.volume_frozen is None
    dynamics.set_options(barostat="anisotropic", barostat_interval=1)
    dynamics.run(2)
    assert dynamics.stats.volume_moves == 5
    volume = dynamics.atoms.get_volume()
    dynamics.set_options(pressure=None, barostat=None, barostat_scales=None, barostat_interval=None)
    dynamics.run(3)
    assert dynamics.stats.volume_moves == 5
    assert dynamics.atoms.get_volume() == volume
    assert dynamics.stats.volume is None
    with pytest.raises(ValueError, match="corrector 'mollified'"):
        dynamics.set_options(pressure=0.0, corrector="mollified")


def test_a_user_may_set_cell_and_positions():
    dynamics = run_of_crystal()
    dynamics.run(3)
    dynamics.atoms.set_cell(dynamics.atoms.cell * 1.01, scale_atoms=True)
    dynamics.atoms.positions += dynamics.atoms.cell[0]  # other images
    volume = dynamics.atoms.get_volume()
    dynamics.set_options(barostat_interval=100)
    dynamics.run(1)
    assert dynamics.stats.volume == pytest.approx(volume, rel=1e-12)
    dynamics.set_options(barostat_interval=1)
    dynamics.run(10)
    assert dynamics.atoms.get_volume() != volume
