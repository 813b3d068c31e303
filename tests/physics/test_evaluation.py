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


class _Recorded(MorseNetwork):
    """Notes what it is asked for."""

    def calculate(self, atoms=None, properties=None, system_changes=()):
        asked = (properties, sorted(system_changes), atoms.positions.tolist())
        self.asked = [*getattr(self, "asked", []), asked]
        super().calculate(atoms, properties, system_changes)


class _Looking(_Recorded):
    """Compares in a way of its own."""

    def check_state(self, atoms, tol=1e-15):
        changes = super().check_state(atoms, tol)
        return [*changes, "a setting"] if changes else []


@pytest.mark.parametrize("kind", [_Recorded, _Looking])
def test_calculators_are_asked_as_ase_asks_them(kind, ethanol, state):
    """With what has changed known beforehand, they get the same calls and give the same answers."""
    ours, other = kind(ethanol.positions), kind(ethanol.positions)
    physics, atoms, stranger = CalculatorPhysics(ethanol, ours), ethanol.copy(), ethanol.copy()
    atoms.calc = other
    stranger.symbols[0] = "Si"
    made = []
    for size, forces in ((0.1, True), (1e-17, True), (0.1, True), (0.1, False), (0.1, True)):
        state = state.replace(positions=state.positions + size * state.momenta)
        atoms.positions[:] = state.positions.numpy()
        found, cost = physics(state, forces)
        made += cost.evaluations.tolist()
        if forces:
            np.testing.assert_array_equal(found.forces.numpy(), atoms.get_forces())
        assert float(found.energy) == atoms.get_potential_energy()
        if len(made) == 3:  # someone else asks for something else
            for calculator in (ours, other):
                calculator.get_property("energy", stranger)
    assert ours.asked == other.asked
    assert made == [1, 0, 1, 1, 1]


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
