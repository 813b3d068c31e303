"""Replicas with the mollified corrector: failures are of one, and frames say what they are."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixBondLengths
from ase.io import read

from kstep_integrators import CalculatorPotential, Ensemble, KStepWarning, run_ensemble
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.ensemble.test_ensemble import alone, broken_at, cheap, starts
from tests.physics.worker_factories import AnyMorse, morse

FS = units.fs
K = 16
MOLLIFIED = {"k": K, "timestep": 0.5 * FS, "corrector": "mollified", "verify_interval": 0}
NAMES = ("water", "methane", "ethanol")
FLOW, AVERAGE = K, 10
"""Forces of the potential in the parts of a stride."""


def of_three(physics=morse, model=None, steps=3, **more):
    return run_ensemble(starts(NAMES), model or cheap(), physics, steps, **{**MOLLIFIED, **more})


def assert_the_others_are_whole(result, steps=3):
    whole = of_three(steps=steps)
    for i in (0, 2):
        mine, theirs = result.replicas[i].atoms, whole.replicas[i].atoms
        np.testing.assert_allclose(mine.positions, theirs.positions, atol=1e-12)
        np.testing.assert_allclose(mine.get_momenta(), theirs.get_momenta(), atol=1e-11)
        assert result.replicas[i].stats.physics_evaluations == 1 + steps
        assert result.replicas[i].stats.fallbacks == 0


def test_a_failing_physics_is_a_fallback_of_its_own():
    result = of_three(broken_at([3]))
    assert result.failures == {}
    stats = [replica.stats for replica in result.replicas]
    assert [one.fallbacks for one in stats] == [0, 1, 0]
    # One at x, where the physics had been estimated, and the steps.
    assert [one.physics_evaluations for one in stats] == [4, 4 + 1 + K, 4]
    assert stats[1].last_problem == "RuntimeError: call 3 was told to fail"
    assert_the_others_are_whole(result)


def test_a_physics_that_fails_for_good_loses_its_replica_alone(tmp_path):
    result = of_three(broken_at(range(3, 99)), trajectory=tmp_path)
    assert list(result.failures) == [1]
    assert result.failures[1].startswith("step 2: the jump was undone (RuntimeError: call 3")
    assert_the_others_are_whole(result)
    frames = [read(tmp_path / f"000{i}.traj", ":") for i in range(3)]
    assert [len(each) for each in frames] == [4, 2, 4]
    last = read(tmp_path / "0001.restart.traj")
    assert last.info["estimated"] == "energy, forces"
    middle = alone(starts(NAMES)[1], 1, **MOLLIFIED)
    np.testing.assert_allclose(last.positions, middle.atoms.positions, atol=1e-12)


@pytest.mark.parametrize("how", ["raise", "nan"])
@pytest.mark.parametrize("where", ["flow", "average", "there", "products"])
def test_a_failing_potential_is_a_fallback_of_its_own(where, how):
    """The molecules of a calculator's potential are evaluated one after another."""
    counter = CountingCalculator(AnyMorse(depth=1.8))
    of_three(model=CalculatorPotential(counter), steps=0)
    # A flow is made in full for one molecule after the other, or step by step for all of them.
    steps = {"flow": 2, "average": FLOW + 2, "there": FLOW + AVERAGE, "products": None}[where]
    if steps is None:
        call = counter.evaluations + 3 * (FLOW + AVERAGE + 1) + 3  # first product: pairs of each
    else:
        call = counter.evaluations + 3 * steps + 2
    model = CalculatorPotential(BrokenCalculator(AnyMorse(depth=1.8), [call], how))
    with pytest.warns(KStepWarning, match="replica 1, step 1: the potential failed"):
        result = of_three(model=model)
    stats = [replica.stats for replica in result.replicas]
    assert [one.fallbacks for one in stats] == [0, 1, 0]
    assert [one.potential_failures for one in stats] == [0, 1, 0]
    assert_the_others_are_whole(result)


def test_a_potential_that_fails_at_the_start_costs_its_replica_one_stride():
    counter = CountingCalculator(AnyMorse(depth=1.8))
    call = 3 + 2  # three at the positions, then the averages in turn
    model = CalculatorPotential(BrokenCalculator(counter, [call]))
    with pytest.warns(KStepWarning, match="replica 1, step 1: the potential failed"):
        result = of_three(model=model)
    assert result.failures == {}
    stats = [replica.stats for replica in result.replicas]
    assert [one.fallbacks for one in stats] == [0, 1, 0]
    assert_the_others_are_whole(result)


def test_fallbacks_for_a_tolerance_are_of_each_replica():
    """The pull at the averaged positions is above it for some and below for others."""
    result = of_three(steps=4, force_tolerance=0.1, model=cheap(1.2))
    fallbacks = [replica.stats.fallbacks for replica in result.replicas]
    assert 0 < sum(fallbacks) < 12
    for replica, atoms in zip(result.replicas, starts(NAMES), strict=True):
        run = alone(atoms, 4, cheap(1.2), **MOLLIFIED, force_tolerance=0.1)
        np.testing.assert_allclose(replica.atoms.positions, run.atoms.positions, atol=1e-9)
        assert replica.stats.fallbacks == run.stats.fallbacks
        assert replica.stats.physics_evaluations == run.stats.physics_evaluations


def test_frames_say_which_are_estimated(tmp_path):
    with Ensemble(
        starts(NAMES), cheap(), broken_at([3]), **MOLLIFIED, trajectory=tmp_path
    ) as ensemble:
        ensemble.run(3)
    frames = [read(tmp_path / f"000{i}.traj", ":") for i in range(3)]
    notes = [[frame.info.get("estimated") for frame in each] for each in frames]
    said = "energy, forces"
    assert notes == [[said] * 4, [said, said, None, said], [said] * 4]
    computed = read(tmp_path / "0001.traj", 2)
    real = computed.copy()
    real.calc = AnyMorse()
    assert computed.get_potential_energy() == pytest.approx(real.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(computed.get_forces(), real.get_forces(), atol=1e-12)


def test_a_verification_that_fails_is_that_of_its_replica_alone():
    # Of methane: the start, the first stride, and then the verification.
    result = of_three(broken_at([3]), verify_interval=1)
    stats = [replica.stats for replica in result.replicas]
    assert [one.verifications for one in stats] == [3, 2, 3]
    assert [one.fallbacks for one in stats] == [0, 0, 0]
    assert all(np.isfinite(one.estimate_error) for one in stats)
    assert_the_others_are_whole(result)


def test_what_it_cannot_go_with_is_refused_for_replicas_too():
    bath = {"temperature_K": 300, "friction": 0.02 / FS}
    with pytest.raises(ValueError, match=r"metropolize=True with the corrector 'mollified'"):
        Ensemble(starts(), cheap(), morse, **{**MOLLIFIED, "metropolize": True}, **bath)
    bound = starts()
    bound[1].set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    with pytest.raises(ValueError, match=r"'mollified' with 2 bonds of fixed length"):
        Ensemble(bound, cheap(), morse, **MOLLIFIED)
    with pytest.raises(ValueError, match=r"verify_interval=2 with the corrector 'impulse'"):
        Ensemble(starts(), cheap(), morse, corrector="impulse", verify_interval=2)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "mollified"),
        ({"k": 8}, "impulse"),
        ({"temperature_K": 300, "friction": 0.02 / FS, "metropolize": True}, "impulse"),
    ],
)
def test_the_default_corrector_at_8_fs(more, expected):
    with Ensemble(starts(), cheap(), morse, **{"k": K, "timestep": 0.5 * FS, **more}) as ensemble:
        assert ensemble.scheme.corrector.name == expected


def test_fixed_bonds_in_one_replica_keep_the_default_of_all_at_impulses():
    bound = starts()
    bound[1].set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    with Ensemble(bound, cheap(), morse, k=K, timestep=0.5 * FS) as ensemble:
        assert ensemble.scheme.corrector.name == "impulse"
        ensemble.run(1)
