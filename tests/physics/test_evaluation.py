import numpy as np
import pytest
import torch

from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.counting import Meter
from kstep_integrators.physics.store import EvaluationStore, geometry
from kstep_integrators.testing import BrokenCalculator, CountingCalculator, MorseNetwork


def test_one_geometry_is_evaluated_once(ethanol, state):
    counter = CountingCalculator(MorseNetwork(ethanol.positions + 0.01))
    physics = CalculatorPhysics(ethanol, counter)
    first, cost = physics(state)
    moved = state.replace(positions=state.positions + 0.1 * state.momenta)
    second, other = physics(moved)
    assert cost.evaluations.tolist() == other.evaluations.tolist() == [1]
    assert cost.seconds > 0
    for known, place in ((first, state), (second, moved)):
        again, cost = physics(place)
        assert again is known
        assert (cost.evaluations.tolist(), cost.seconds) == ([0], 0.0)
    assert counter.evaluations == 2


def test_a_meter_adds_up_what_it_lets_through(ethanol, state):
    meter = Meter(CalculatorPhysics(ethanol, MorseNetwork(ethanol.positions)), 1)
    assert meter(state) is meter(state)
    meter(state.replace(positions=state.positions + 0.1))
    assert meter.evaluations.tolist() == [2]
    assert meter.seconds > 0


def test_the_store_forgets_and_never_confuses(state):
    store = EvaluationStore(size=2)
    states = [state.replace(positions=state.positions + 1e-12 * i) for i in range(3)]
    for i, s in enumerate(states):
        store.put(geometry(s), i)
    assert store.get(geometry(states[0])) is None
    assert [store.get(geometry(s)) for s in states[1:]] == [1, 2]
    assert store.get(geometry(states[1].replace(pbc=(True, True, True)))) is None


def test_what_is_not_wanted_is_not_evaluated(ethanol, state):
    counter = CountingCalculator(MorseNetwork(ethanol.positions))
    physics = CalculatorPhysics(ethanol, counter)
    nothing, cost = physics(state, which=torch.tensor([False]))
    assert nothing.energy.isnan().all()
    assert nothing.failures == {}
    assert counter.evaluations == cost.evaluations.sum() == 0
    assert physics(state, which=torch.tensor([True]))[0].energy.isfinite().all()


def test_the_users_atoms_are_left_alone(ethanol, state):
    before = ethanol.positions.copy()
    physics = CalculatorPhysics(ethanol, MorseNetwork(ethanol.positions))
    physics(state.replace(positions=state.positions + 1.0))
    np.testing.assert_array_equal(ethanol.positions, before)


@pytest.mark.parametrize(("how", "message"), [("raise", "RuntimeError: call 1"), ("nan", "nan eV")])
def test_failures_are_one_kind_of_error(how, message, ethanol, state):
    broken = BrokenCalculator(MorseNetwork(ethanol.positions), [1], how)
    physics = CalculatorPhysics(ethanol, broken)
    failed, cost = physics(state)
    assert message in failed.failures[0]
    assert failed.energy.isnan().all()
    assert failed.forces.isnan().all()
    assert cost.evaluations.tolist() == [1]
    assert np.isfinite(float(physics(state)[0].energy))


def test_how_to_break_is_checked(ethanol):
    with pytest.raises(ValueError, match="how is 'later', expected"):
        BrokenCalculator(MorseNetwork(ethanol.positions), [1], "later")
