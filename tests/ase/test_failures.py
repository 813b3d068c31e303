"""KStepDynamics when jumps, calculators or arguments go wrong."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixedLine
from ase.io import read
from ase.md.verlet import VelocityVerlet

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    FlowJump,
    Guard,
    KStepDynamics,
    KStepWarning,
)
from kstep_integrators.testing import BrokenCalculator, MorseNetwork
from tests.conftest import REFERENCE, cheap, hot, physics, potential

FS = units.fs


def test_an_absurd_jump_is_made_by_physics_instead(atoms):
    other = atoms.copy()
    other.calc = physics()

    class Absurd(BrokenCalculator):
        def calculate(self, *arguments):
            super().calculate(*arguments)
            if self.calls == 7:
                self.results["forces"] = 1e4 * self.results["forces"]

    absurd = CalculatorPotential(Absurd(physics(), []))
    dynamics = KStepDynamics(atoms, absurd, k=4)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 1
    assert "atom moved at" in dynamics.stats.last_problem
    assert dynamics.stats.jumps == 3
    # 1 + 3 jumps, of which one cost nothing, + 4 Verlet steps
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 1 + 2 + 4
    VelocityVerlet(other, 0.25 * FS).run(12)
    assert abs(atoms.positions - other.positions).max() < 1e-10
    assert dynamics.get_time() == pytest.approx(3 * FS)


def test_a_failing_potential_is_made_by_physics_instead(atoms):
    other = atoms.copy()
    other.calc = physics()
    failing = CalculatorPotential(BrokenCalculator(physics(), [7]))
    dynamics = KStepDynamics(atoms, failing, k=4)
    with pytest.warns(KStepWarning, match="step 2: the potential failed"):
        dynamics.run(3)
    assert dynamics.stats.fallbacks == 1
    assert "potential: RuntimeError: call 7" in dynamics.stats.last_problem
    VelocityVerlet(other, 0.25 * FS).run(12)
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_an_absurd_energy_is_noticed(atoms):
    calculator = atoms.calc
    dynamics = KStepDynamics(
        atoms, cheap(depth=60.0), k=8, corrector="none", guard=Guard(max_energy_change=0.3)
    )
    dynamics.run(5)
    assert dynamics.stats.fallbacks > 0
    assert "total energy changed" in dynamics.stats.last_problem
    assert calculator.evaluations == 1 + 5 + 8 * dynamics.stats.fallbacks


def test_a_failing_evaluation_is_stepped_over(atoms):
    atoms.calc = BrokenCalculator(physics(), [3])
    dynamics = KStepDynamics(atoms, cheap(), k=4)
    dynamics.run(4)
    assert dynamics.stats.fallbacks == 1
    assert "call 3 was told to fail" in dynamics.stats.last_problem
    assert dynamics.stats.physics_evaluations == atoms.calc.calls == 1 + 4 + 4


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_if_physics_fails_too_nothing_is_lost(how, atoms, tmp_path):
    atoms.calc = BrokenCalculator(physics(), range(4, 100), how)
    path = tmp_path / "md.traj"
    dynamics = KStepDynamics(atoms, cheap(), k=4, trajectory=str(path))
    with pytest.raises(DynamicsFailed, match=r"last good state \(step 2\) is in .*restart.traj"):
        dynamics.run(10)
    assert len(read(path, ":")) == 3
    last = read(f"{path}.restart.traj")
    np.testing.assert_array_equal(last.positions, atoms.positions)
    np.testing.assert_array_equal(last.positions, read(path, "-1").positions)
    np.testing.assert_array_equal(last.get_momenta(), atoms.get_momenta())
    atoms.calc = physics()
    KStepDynamics(atoms, cheap(), k=4).run(2)


def test_the_restart_file_of_an_earlier_run_stays(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    starts = []
    for seed in (0, 1):
        monkeypatch.chdir(tmp_path)
        atoms = hot(seed=seed)
        atoms.calc = BrokenCalculator(physics(), range(2, 100))
        dynamics = KStepDynamics(atoms, cheap(), k=4)
        monkeypatch.chdir("elsewhere")  # files of a run stay where it began
        with pytest.raises(DynamicsFailed, match=r"restart(-2)?\.traj"):
            dynamics.run(1)
        starts.append(atoms.get_momenta())
    for name, momenta in zip(("kstep.restart", "kstep.restart-2"), starts, strict=True):
        np.testing.assert_array_equal(read(tmp_path / f"{name}.traj").get_momenta(), momenta)


def test_ctrl_c_leaves_a_state_to_go_on_from(atoms, tmp_path):
    class Interrupted(MorseNetwork):
        calls = 0

        def calculate(self, *arguments):
            self.calls += 1
            if self.calls == 5:
                raise KeyboardInterrupt
            super().calculate(*arguments)

    other = atoms.copy()
    other.calc = physics()
    atoms.calc = Interrupted(REFERENCE)
    path = tmp_path / "md.traj"
    dynamics = KStepDynamics(atoms, cheap(depth=1.8), k=4, trajectory=str(path))
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(6)
    assert dynamics.nsteps == 3
    np.testing.assert_array_equal(read(path, "-1").positions, atoms.positions)
    dynamics.run(3)
    KStepDynamics(other, cheap(depth=1.8), k=4).run(6)
    np.testing.assert_array_equal(atoms.positions, other.positions)
    assert len(read(path, ":")) == 7


def test_failing_at_the_very_start_says_why(atoms):
    atoms.calc = BrokenCalculator(physics(), [1])
    with pytest.raises(RuntimeError, match="call 1 was told to fail"):
        KStepDynamics(atoms, cheap()).run(1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k is 0, expected an integer >= 1"),
        ({"k": 2.5}, ValueError, "k is 2.5, expected an integer"),
        ({"k": True}, ValueError, "k is True"),
        ({"timestep": -1.0}, ValueError, "timestep is -1.0, expected a positive"),
        ({"timestep": float("nan")}, ValueError, "timestep is nan"),
        ({"friction": 0.1}, ValueError, "friction=0.1 needs a temperature"),
        ({"temperature_K": 300}, ValueError, "pass friction as well"),
        ({"corrector": "delta"}, ValueError, "this jump cannot take the corrector 'delta'"),
        ({"corrector": "sigma"}, ValueError, "unknown corrector 'sigma'"),
        ({"thermostat": "nose"}, ValueError, "unknown thermostat 'nose'"),
        ({"rng": 3}, TypeError, r"rng is a int, expected numpy.random.default_rng"),
        ({"model": 3.0}, TypeError, "model is a float; expected"),
        ({"model": "absent"}, ValueError, "neither a file nor a bundled model"),
    ],
)
def test_arguments_that_make_no_sense(arguments, error, message, atoms):
    with pytest.raises(error, match=message):
        KStepDynamics(atoms, **{"model": cheap(), **arguments})


def test_atoms_that_cannot_be_run(atoms):
    without = atoms.copy()
    with pytest.raises(ValueError, match="atoms has no calculator"):
        KStepDynamics(without, cheap())
    with pytest.raises(ValueError, match="same calculator object"):
        KStepDynamics(atoms, CalculatorPotential(atoms.calc))
    atoms.set_constraint(FixedLine([0], [1, 0, 0]))
    with pytest.raises(ValueError, match="FixedLine"):
        KStepDynamics(atoms, cheap())
    atoms.set_constraint()
    atoms.positions[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        KStepDynamics(atoms, cheap())


def test_a_jump_has_its_own_timestep(atoms):
    jump = FlowJump(cheap(), 0.5 * FS)
    assert KStepDynamics(atoms, jump, k=4).dt == pytest.approx(2 * FS)
    with pytest.raises(ValueError, match="the jump has its own"):
        KStepDynamics(atoms, jump, k=4, timestep=0.25 * FS)


def test_a_periodic_cell_is_refused_by_a_model_for_molecules(atoms):
    atoms.set_cell([10, 10, 10])
    atoms.pbc = True
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        KStepDynamics(atoms, potential())
