"""Ends of strides: the physics at averaged positions, molecules without them, verifications."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kstep_integrators import FlowJump, Guard, units
from kstep_integrators.correctors import Impulse, Mollified
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.step.arrival import arrive, first_point, verified
from kstep_integrators.step.guard import Control
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import step
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.thermostats import NoThermostat
from tests.conftest import REFERENCE

FS = units.FS
STRIDE, K = 8 * FS, 16


def springs(depth: float) -> Surface:
    return Surface(morse(torch.from_numpy(REFERENCE), depth), 9)


class Faulty:
    """Springs whose numbers for one of two molecules are wrong in some of the calls.

    Attributes
    ----------
    calls : set of int
        Calls with infinite forces on the second molecule.
    hessians : set of int
        Products of its Hessian that are NaN.
    """

    timestep, device = 0.5 * FS, torch.device("cpu")

    def __init__(self, calls=(), hessians=()) -> None:
        self.bound: Any = None
        self.calls, self.hessians = set(calls), set(hessians)
        self.called = self.applied = 0

    def bind(self, state):
        self.bound = springs(1.5).bind(state)
        return self

    def describe(self):
        return {}

    def __call__(self, positions, workspace):
        self.called += 1
        evaluation, _ = self.bound(positions, None)
        if self.called in self.calls:
            evaluation.forces[9:] = torch.inf
        return evaluation, None

    def linearized(self, positions):
        products = self.bound.linearized(positions)

        def faulty(vectors):
            self.applied += 1
            found = products(vectors)
            if self.applied in self.hessians:
                found[:, 9:] = torch.nan
            return found

        return faulty


@pytest.fixture
def two(state: PhaseState) -> PhaseState:
    return join_states([state, state.replace(positions=state.positions.flip(1) + 0.02)])


def scheme(state, potential=None, corrector=None, **control) -> BoundScheme:
    jump = FlowJump(potential or springs(1.5), 0.5 * FS)
    physics = springs(2.0)
    loose = Control(guard=Guard(max_speed=1e9, max_energy_change=1e9), **control)
    return BoundScheme(
        jump.bind(state), corrector or Mollified(), NoThermostat(), physics, jump.timestep, loose
    )


def arrived(state: PhaseState, parts: BoundScheme, which=None):
    meter = Meter(parts.physics, state.n_molecules)
    inner = parts.jump.begin(state)
    return arrive(state, inner, parts, meter, STRIDE, which), meter


def test_one_evaluation_at_the_averaged_positions(two):
    parts = scheme(two)
    found, meter = arrived(two, parts)
    assert meter.evaluations.tolist() == [1, 1]
    assert not found.failures
    aim = Mollified().aim(two, parts.jump.begin(two), STRIDE, parts.jump)
    assert torch.equal(found.site.positions, aim.state.positions)
    there = springs(2.0).evaluate(aim.state.positions, True)
    torch.testing.assert_close(found.site.physics.energy, there.energy, rtol=0, atol=1e-12)
    assert found.correction.stride == STRIDE


def test_only_the_molecules_that_are_asked_for_are_evaluated(two):
    parts = scheme(two)
    whole, _ = arrived(two, parts)
    found, meter = arrived(two, parts, torch.tensor([False, True]))
    assert meter.evaluations.tolist() == [0, 1]
    assert not found.failures
    assert found.physics.energy.isnan().tolist() == [True, False]
    assert found.correction.force[:9].isnan().all()
    torch.testing.assert_close(found.correction.force[9:], whole.correction.force[9:])
    none, meter = arrived(two, parts, torch.tensor([False, False]))
    assert meter.evaluations.tolist() == [0, 0]
    assert none.correction is None


def test_an_average_that_leads_nowhere_is_not_evaluated(two):
    whole, _ = arrived(two, scheme(two))
    parts = scheme(two, Faulty(calls=[3]))  # the first is at the positions
    found, meter = arrived(two, parts)
    assert meter.evaluations.tolist() == [1, 0]
    assert found.failures == {1: "potential: its motion from rest leads nowhere"}
    assert found.physics.failures == found.failures
    torch.testing.assert_close(found.physics.energy[0], whole.physics.energy[0])
    torch.testing.assert_close(found.correction.force[:9], whole.correction.force[:9])
    assert found.correction.force[9:].isnan().all()


def test_an_average_without_a_derivative_is_the_failure_of_its_molecule(two):
    whole, _ = arrived(two, scheme(two))
    found, meter = arrived(two, scheme(two, Faulty(hessians=[4])))
    assert meter.evaluations.tolist() == [1, 1]
    assert found.failures == {1: "potential: its average has no derivative"}
    torch.testing.assert_close(found.correction.force[:9], whole.correction.force[:9])


def test_a_physics_that_fails_for_one_harms_no_other(two):
    class Broken(Surface):
        def __call__(self, state, forces=True, which=None):
            evaluation, cost = super().__call__(state, forces, which)
            evaluation.energy[1] = evaluation.forces[9:] = torch.nan
            return Evaluation(evaluation.energy, evaluation.forces, {1: "no licence"}), cost

    whole, _ = arrived(two, scheme(two))
    parts = scheme(two)
    object.__setattr__(parts, "physics", Broken(springs(2.0).energy, 9))
    found, _ = arrived(two, parts)
    assert found.failures == {1: "no licence"}
    torch.testing.assert_close(found.correction.force[:9], whole.correction.force[:9])


@pytest.mark.parametrize("kind", ["average", "derivative"])
def test_a_run_whose_potential_fails_at_the_start_begins_with_the_physics_there(kind, two):
    faulty = Faulty(calls=[3]) if kind == "average" else Faulty(hessians=[4])
    parts = scheme(two, faulty)
    meter = Meter(parts.physics, 2)
    point = first_point(two, parts, meter, STRIDE)
    assert not point.physics.failures
    assert point.estimated.tolist() == [True, False]
    here = springs(2.0).evaluate(two.positions, True)
    torch.testing.assert_close(point.physics.energy[1], here.energy[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(point.physics.forces[9:], here.forces[9:], rtol=0, atol=1e-12)
    assert meter.evaluations.tolist() == ([1, 1] if kind == "average" else [1, 2])
    good = first_point(two, scheme(two), Meter(parts.physics, 2), STRIDE)
    torch.testing.assert_close(point.physics.energy[0], good.physics.energy[0])
    after, info = step(point, parts, K, np.random.default_rng(0))
    assert not info.lost
    assert set(info.fallbacks) == {1}
    whole, _ = step(good, scheme(two), K, np.random.default_rng(0))
    torch.testing.assert_close(after.state.positions[:9], whole.state.positions[:9])
    assert after.estimated.tolist() == [True, False]


@pytest.mark.parametrize("on_error", ["fallback", "shrink"])
def test_a_fallback_of_one_leaves_the_other_as_it_is(on_error, two):
    plain = scheme(two)
    point = first_point(two, plain, Meter(plain.physics, 2), STRIDE)
    whole, _ = step(point, plain, K, np.random.default_rng(0))
    faulty = Faulty()
    parts = scheme(two, faulty, on_error=on_error)
    point = first_point(two, parts, Meter(parts.physics, 2), STRIDE)
    faulty.calls = {faulty.called + K + 2}  # the average where the stride ends
    after, info = step(point, parts, K, np.random.default_rng(0))
    assert not info.lost
    torch.testing.assert_close(after.state.positions[:9], whole.state.positions[:9])
    torch.testing.assert_close(after.state.momenta[:9], whole.state.momenta[:9])
    torch.testing.assert_close(after.potential_energy[0], whole.potential_energy[0])
    assert bool(after.estimated[0])
    if on_error == "fallback":
        assert set(info.fallbacks) == {1}
        assert not bool(after.estimated[1])
        here = springs(2.0).evaluate(after.state.positions, True)
        torch.testing.assert_close(after.physics.energy[1], here.energy[1], rtol=0, atol=1e-12)
        torch.testing.assert_close(after.potential_energy[1], here.energy[1], rtol=0, atol=1e-12)
    else:
        assert info.shrinks == {1: 1}
        assert bool(after.estimated[1])
    following, info = step(after, parts, K, np.random.default_rng(0))
    assert not info.reasons
    assert following.estimated.tolist() == [True, True]


def test_verified_is_estimated_minus_computed(two):
    parts = scheme(two)
    point = first_point(two, parts, Meter(parts.physics, 2), STRIDE)
    before = parts.physics.evaluations
    error = verified(point, parts)
    assert parts.physics.evaluations == before + 2
    here = springs(2.0).evaluate(two.positions, False).energy
    torch.testing.assert_close(error, point.physics.energy - here, rtol=0, atol=1e-12)
    assert error.abs().min() > 1e-4


def test_of_computed_physics_there_is_nothing_to_verify(two):
    parts = scheme(two, corrector=Impulse())
    point = first_point(two, parts, Meter(parts.physics, 2), STRIDE)
    before = parts.physics.evaluations
    assert verified(point, parts) is None
    assert parts.physics.evaluations == before
    mixed = scheme(two, Faulty(calls=[3]))
    point = first_point(two, mixed, Meter(mixed.physics, 2), STRIDE)
    assert verified(point, mixed).isnan().tolist() == [False, True]
    assert mixed.physics.evaluations == 2 + 1


def test_only_what_is_estimated_is_computed_before_the_physics_takes_over(two):
    """The first molecule has come from physics steps; then both strides are undone."""
    faulty = Faulty()
    parts = scheme(two, faulty, force_tolerance=1e-9)
    plain = scheme(two, faulty)
    point = first_point(two, plain, Meter(plain.physics, 2), STRIDE)
    faulty.calls = {faulty.called + K + 2}
    mixed, _ = step(point, plain, K, np.random.default_rng(0))
    assert mixed.estimated.tolist() == [True, False]
    after, info = step(mixed, parts, K, np.random.default_rng(0))
    assert set(info.fallbacks) == {0, 1}
    assert info.evaluations.tolist() == [1 + 1 + K, 1 + K]
    assert after.estimated.tolist() == [False, False]
    here = springs(2.0).evaluate(after.state.positions, True)
    torch.testing.assert_close(after.physics.energy, here.energy, rtol=0, atol=1e-12)
