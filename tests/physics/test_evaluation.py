import numpy as np
import pytest
import torch

from kstep_integrators.physics.evaluation import CalculatorPhysics, EvaluationCache
from kstep_integrators.testing import BrokenCalculator, CountingCalculator, MorseNetwork


def test_one_geometry_is_evaluated_once(ethanol, state):
    counter = CountingCalculator(MorseNetwork(ethanol.positions + 0.01))
    physics = CalculatorPhysics(ethanol, counter)
    first = physics(state)
    moved = state.replace(positions=state.positions + 0.1 * state.momenta)
    second = physics(moved)
    assert physics(state) is first
    assert physics(moved) is second
    assert counter.evaluations == physics.evaluations == 2
    assert physics.seconds > 0


def test_the_cache_forgets_and_never_confuses(state):
    cache = EvaluationCache(size=2)
    states = [state.replace(positions=state.positions + 1e-12 * i) for i in range(3)]
    for i, s in enumerate(states):
        cache.put(s, i)
    assert cache.get(states[0]) is None
    assert [cache.get(s) for s in states[1:]] == [1, 2]
    assert cache.get(states[1].replace(pbc=(True, True, True))) is None


def test_what_is_not_wanted_is_not_evaluated(ethanol, state):
    counter = CountingCalculator(MorseNetwork(ethanol.positions))
    physics = CalculatorPhysics(ethanol, counter)
    nothing = physics(state, which=torch.tensor([False]))
    assert nothing.energy.isnan().all()
    assert nothing.failures == {}
    assert counter.evaluations == physics.evaluations == 0
    assert physics(state, which=torch.tensor([True])).energy.isfinite().all()


def test_the_users_atoms_are_left_alone(ethanol, state):
    before = ethanol.positions.copy()
    physics = CalculatorPhysics(ethanol, MorseNetwork(ethanol.positions))
    physics(state.replace(positions=state.positions + 1.0))
    np.testing.assert_array_equal(ethanol.positions, before)


@pytest.mark.parametrize(("how", "message"), [("raise", "RuntimeError: call 1"), ("nan", "nan eV")])
def test_failures_are_one_kind_of_error(how, message, ethanol, state):
    broken = BrokenCalculator(MorseNetwork(ethanol.positions), [1], how)
    physics = CalculatorPhysics(ethanol, broken)
    failed = physics(state)
    assert message in failed.failures[0]
    assert failed.energy.isnan().all()
    assert failed.forces.isnan().all()
    assert physics.evaluations == 1
    assert np.isfinite(float(physics(state).energy))


def test_how_to_break_is_checked(ethanol):
    with pytest.raises(ValueError, match="how is 'later', expected"):
        BrokenCalculator(MorseNetwork(ethanol.positions), [1], "later")
