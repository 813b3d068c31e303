"""Mollified runs in which something fails, is beyond a tolerance, or is interrupted."""

import warnings

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    Guard,
    KStepDynamics,
    KStepWarning,
    run_ensemble,
)
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.state import EvaluationFailed
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.ase.mollified_runs import BATH, FS, run_of, truth, verlet_after
from tests.conftest import hot, physics


def test_a_failing_evaluation_is_stepped_over_with_the_physics_own_forces(tmp_path):
    """Evaluations: 2 strides with the start, the one that fails, one at x, and 32 Verlet steps."""
    broken = BrokenCalculator(physics(), [4])
    dynamics = run_of(calculator=broken, trajectory=tmp_path / "md.traj")
    dynamics.run(2)
    other = verlet_after(dynamics.atoms, 32)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "call 4 was told to fail" in dynamics.stats.last_problem
    assert broken.calls == dynamics.stats.physics_evaluations == 3 + 1 + 1 + 32
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    np.testing.assert_allclose(dynamics.atoms.get_momenta(), other.get_momenta(), atol=1e-9)
    assert dynamics.estimates() is None
    dynamics.atoms.get_forces()
    assert broken.calls == 37  # they are known
    last = read(tmp_path / "md.traj", "-1")
    assert "estimated" not in last.info
    real = truth(last)
    assert last.get_potential_energy() == real.get_potential_energy()
    np.testing.assert_array_equal(last.get_forces(), real.get_forces())
    dynamics.run(2)
    assert broken.calls == dynamics.stats.physics_evaluations == 37 + 2
    assert read(tmp_path / "md.traj", "-1").info["estimated"]


@pytest.mark.parametrize("where", ["flow", "average", "there", "adjoint"])
@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_potential_that_fails_is_stepped_over(where, how):
    """Wherever it fails in the second stride: the path is that of Verlet steps from its start."""
    counter = CountingCalculator(physics(depth=1.8))
    probe = run_of(model=CalculatorPotential(counter))
    probe.run(1)
    call = counter.evaluations + {"flow": 5, "average": 32 + 4, "there": 32 + 11,
                                  "adjoint": 32 + 11 + 6}[where]  # fmt: skip
    broken = BrokenCalculator(physics(depth=1.8), [call], how)
    dynamics = run_of(model=CalculatorPotential(broken))
    dynamics.run(1)
    np.testing.assert_array_equal(dynamics.atoms.positions, probe.atoms.positions)
    other = verlet_after(dynamics.atoms, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KStepWarning)
        dynamics.run(1)
    assert (dynamics.stats.fallbacks, dynamics.stats.potential_failures) == (1, 1)
    assert dynamics.stats.last_problem.startswith("potential: ")
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    evaluations = dynamics.atoms.calc.evaluations
    assert evaluations == dynamics.stats.physics_evaluations
    assert evaluations == 2 + (where == "adjoint") + 1 + 32
    dynamics.run(2)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.estimates() is not None


def test_if_the_physics_fails_too_the_last_good_state_says_what_it_is(tmp_path):
    path = tmp_path / "md.traj"
    dynamics = run_of(calculator=BrokenCalculator(physics(), range(4, 100)), trajectory=path)
    with pytest.raises(DynamicsFailed, match=r"last good state \(step 2\) is in .*restart.traj"):
        dynamics.run(5)
    last = read(f"{path}.restart.traj")
    assert last.info["estimated"] == "energy, forces"
    np.testing.assert_array_equal(last.positions, read(path, "-1").positions)
    np.testing.assert_array_equal(last.positions, dynamics.atoms.positions)


def test_if_the_physics_fails_at_the_start_it_is_an_error():
    dynamics = run_of(calculator=BrokenCalculator(physics(), [1]))
    with pytest.raises(EvaluationFailed, match="call 1 was told to fail"):
        dynamics.run(1)
    dynamics.run(2)
    assert dynamics.stats.physics_evaluations == dynamics.atoms.calc.calls == 1 + 3


def test_a_verification_that_fails_is_none():
    calls = 2 + 1  # two at averaged positions, then the first verification
    dynamics = run_of(calculator=BrokenCalculator(physics(), [calls]), verify_interval=1)
    plain = run_of()
    dynamics.run(3)
    plain.run(3)
    assert dynamics.stats.verifications == 2
    assert np.isfinite(dynamics.stats.estimate_error)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_tolerances_are_of_the_residual_where_it_is_computed():
    """Beyond it, a fallback each stride: an evaluation, one at x if it was estimated, 32 steps."""
    start = hot()
    other = verlet_after(start, 96)
    dynamics = run_of(start, force_tolerance=1e-6)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 3
    assert "force_tolerance" in dynamics.stats.last_problem
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    # At the start it is estimated; after a fallback it is computed.
    evaluations = dynamics.atoms.calc.evaluations
    assert evaluations == dynamics.stats.physics_evaluations == 1 + 3 * (1 + 32) + 1


def test_warn_lets_a_stride_stand():
    plain = run_of()
    plain.run(3)
    dynamics = run_of(on_error="warn", force_tolerance=1e-6)
    with pytest.warns(KStepWarning, match="the jump stands"):
        dynamics.run(3)
    assert (dynamics.stats.exceeded, dynamics.stats.fallbacks) == (3, 0)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_stop_stops():
    dynamics = run_of(on_error="stop", energy_tolerance=1e-9)
    before = dynamics.atoms.get_positions()
    with pytest.raises(DynamicsFailed, match="energy_tolerance"):
        dynamics.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions, before)


def test_shrinking_makes_shorter_strides_and_then_long_ones_again():
    """The physics fails once: two strides of 4 fs, at averages of their own."""
    dynamics = run_of(calculator=BrokenCalculator(physics(), [3]), on_error="shrink")
    times = []
    dynamics.attach(lambda: times.append(dynamics.get_time()))
    dynamics.run(4)
    assert (dynamics.stats.shrinks, dynamics.stats.fallbacks) == (1, 0)
    assert dynamics.atoms.calc.calls == dynamics.stats.physics_evaluations == 2 + 1 + 2 * 3
    assert np.diff(times) == pytest.approx(8.0 * FS)
    assert dynamics.estimates() is not None


def test_an_absurd_jump_is_made_by_the_physics():
    dynamics = run_of(guard=Guard(max_energy_change=1e-7))
    other = verlet_after(dynamics.atoms, 32)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "total energy changed" in dynamics.stats.last_problem
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)


def test_an_interrupted_step_is_made_again_the_same():
    class Interrupted(BrokenCalculator):
        def calculate(self, *arguments):
            if self.calls == 3:
                self.calls += 1
                raise KeyboardInterrupt
            super().calculate(*arguments)

    dynamics = run_of(calculator=Interrupted(physics(), []), rng=np.random.default_rng(2), **BATH)
    plain = run_of(rng=np.random.default_rng(2), **BATH)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(5)
    dynamics.run(5 - dynamics.nsteps)
    plain.run(5)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_an_interrupted_verification_leaves_the_step_to_be_made_again():
    """The evaluation at the averaged positions is known then."""

    class Interrupted(BrokenCalculator):
        def calculate(self, *arguments):
            if self.calls == 2:
                self.calls += 1
                raise KeyboardInterrupt
            super().calculate(*arguments)

    dynamics = run_of(
        calculator=Interrupted(physics(), []), verify_interval=1, rng=np.random.default_rng(2),
        **BATH,
    )  # fmt: skip
    plain = run_of(rng=np.random.default_rng(2), **BATH)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(4)
    assert dynamics.nsteps == 0
    dynamics.run(4)
    plain.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)
    assert (dynamics.stats.physics_evaluations, dynamics.stats.verifications) == (5, 4)
    assert dynamics.atoms.calc.calls == 5 + 4 + 1


@pytest.mark.parametrize("formula", ["CH4", "CO2"])
def test_an_exactly_symmetric_start_is_stepped_over(formula):
    """Vectors of a network vanish at its middle atom, where their length has a kink: the
    transposed derivative of the average is 1e5 times what it is a hundredth of an angstrom away."""
    atoms = molecule(formula)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    atoms.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(atoms, "organic-gfn2", k=16, timestep=0.5 * FS, verify_interval=0)
    reference = atoms.copy()
    reference.calc = xtb_calculator("GFN2-xTB")
    with pytest.warns(KStepWarning, match="step 1: the potential failed: its average has no"):
        dynamics.run(1)
    VelocityVerlet(reference, 0.5 * FS).run(16)
    np.testing.assert_allclose(atoms.positions, reference.positions, atol=1e-8)
    dynamics.run(9)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.stats.last_problem == "potential: its average has no derivative"
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations


def test_among_others_a_symmetric_start_has_the_same_reason():
    atoms = [molecule("CH4"), molecule("H2O")]
    for seed, one in enumerate(atoms):  # at rest it would stay symmetric
        thermalize_momenta(one, temperature_K=300, rng=np.random.default_rng(seed))
    with pytest.warns(KStepWarning, match="replica 0, step 1: .* its average has no derivative"):
        result = run_ensemble(
            atoms,
            "organic-gfn2",
            lambda _: xtb_calculator("GFN2-xTB"),
            2,
            k=16,
            timestep=0.5 * FS,
            verify_interval=0,
        )
    assert [one.stats.fallbacks for one in result.replicas] == [1, 0]
