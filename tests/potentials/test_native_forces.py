"""Potentials on the native kernel: flows, Hessians, learned weights, copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from ase import units
from ase.constraints import FixAtoms

from kstep_integrators import FlowJump
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.potentials import NetworkPotential, native_forces
from kstep_integrators.potentials import network as network_potential
from kstep_integrators.state import kinetic_energy
from tests.conftest import hot, network, potential

FS = units.fs


def pair(backbone: str = "painn", dtype: torch.dtype = torch.float64):
    """The same network by the kernel and by PyTorch in float64."""
    built = network(backbone)
    header = ModelHeader("untrained", built.config, "none")
    native = NetworkPotential(built, header, device="cpu", dtype=dtype)
    assert native.backend == "native"
    return native, NetworkPotential(
        built, header, device="cpu", dtype=torch.float64, backend="eager"
    )


@pytest.mark.parametrize("backbone", ["painn", "linear"])
@pytest.mark.parametrize("at_once", [1, 20, 4000])
def test_a_flow_in_one_call_is_velocity_verlet(backbone, at_once, monkeypatch, state):
    monkeypatch.setattr(native_forces, "ATOM_STEPS", at_once)
    native, eager = (one.bind(state) for one in pair(backbone))
    start, _ = eager(state.positions, None)
    expected, end, _ = verlet_flow(eager, state, start, 0.5 * FS, 7)
    found, landing = native.flow(state, start, 0.5 * FS, 7)
    assert torch.allclose(found.positions, expected.positions, rtol=0, atol=1e-11)
    assert torch.allclose(found.momenta, expected.momenta, rtol=0, atol=1e-9)
    assert torch.allclose(landing.forces, end.forces, rtol=0, atol=1e-8)
    assert torch.allclose(landing.energy, end.energy, rtol=1e-12)
    assert torch.equal(found.time, expected.time)
    again, _ = native.flow(state, start, 0.5 * FS, 7)
    assert torch.equal(found.positions, again.positions)


def test_replicas_fly_as_if_alone_and_fixed_atoms_stay(ethanol):
    native, _ = pair()
    ethanol.set_constraint(FixAtoms([0, 4]))
    states = [state_from_atoms(ethanol), state_from_atoms(hot("water")), state_from_atoms(ethanol)]
    together = join_states(states)
    landed, _ = FlowJump(native, 0.5 * FS).bind(together)(together, None, None, 5)
    for n, one in enumerate(states):
        alone, _ = FlowJump(native, 0.5 * FS).bind(one)(one, None, None, 5)
        mine = landed.batch == n
        assert torch.equal(landed.positions[mine], alone.positions)
        assert torch.equal(landed.momenta[mine], alone.momenta)
    assert torch.equal(landed.positions[0], together.positions[0])
    assert not landed.momenta[[0, 4]].any()
    assert not torch.equal(landed.positions[1], together.positions[1])


def test_a_replica_that_is_nowhere_leaves_the_others_alone(state):
    native, _ = pair()
    two = join_states([state, state])
    lost = two.positions.clone()
    lost[3, 1] = torch.nan
    flow = FlowJump(native, 0.5 * FS).bind(two)
    expected, _ = flow(two, None, None, 3)
    landed, info = flow(two.replace(positions=lost), None, None, 3)
    n = len(state.positions)
    assert torch.equal(landed.positions[n:], expected.positions[n:])
    assert torch.isnan(info.end.energy).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_is_conserved_and_motion_reverses(dtype, state):
    native, _ = pair(dtype=dtype)
    jump = FlowJump(native, 0.25 * FS).bind(state)
    walker, inner, totals = state, jump.begin(state), []
    for _ in range(60):
        walker, info = jump(walker, None, inner, 8)
        inner = info.end
        totals.append(float(inner.energy + kinetic_energy(walker)))
    width, drift = torch.tensor(totals).std(), totals[-1] - totals[0]
    assert width < 0.02
    assert abs(drift) < 0.05
    back = walker.replace(momenta=-walker.momenta)
    inner = jump.begin(back)
    for _ in range(60):
        back, info = jump(back, None, inner, 8)
        inner = info.end
    exact = {torch.float64: 1e-6, torch.float32: 1e-2}[dtype]
    assert (back.positions - state.positions).abs().max() < exact


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("at_once", [1, 50, 4000])
def test_hessians_are_those_of_automatic_differentiation(dtype, exact, at_once, monkeypatch, state):
    monkeypatch.setattr(native_forces, "ATOM_STEPS", at_once)
    native, eager = (one.bind(state) for one in pair("linear", dtype))
    vectors = torch.randn(7, *state.positions.shape, dtype=torch.float64)
    found, expected = (one.linearized(state.positions)(vectors) for one in (native, eager))
    assert (found - expected).norm() < exact * expected.norm()
    assert native.linearized(state.positions)(vectors[:0]).shape == (0, 9, 3)


def test_other_learned_weights_cost_nothing_and_disturb_no_others(state):
    native, _ = pair("linear")
    x = state.positions
    before, _ = native.bind(state)(x, None)
    other = native.with_weights(torch.zeros_like(native.network.linear.weight))
    assert other.packed is native.packed
    assert other.bind(state).systems is native.bind(state).systems
    zero, _ = other.bind(state)(x, None)
    again, _ = native.bind(state)(x, None)
    assert torch.equal(again.forces, before.forces)
    assert not torch.equal(zero.forces, before.forces)
    built = network("linear")
    torch.nn.init.zeros_(built.linear.weight)
    plain = NetworkPotential(built, native.header, device="cpu", dtype=torch.float64)
    assert torch.equal(plain.bind(state)(x, None)[0].forces, zero.forces)


def test_copies_and_pickles_compute_the_same(state):
    native = potential()
    expected, _ = native.bind(state)(state.positions, None)
    for other in (copy.deepcopy(native), pickle.loads(pickle.dumps(native))):  # noqa: S301
        found, _ = other.bind(state)(state.positions, None)
        assert torch.equal(found.forces, expected.forces)
        assert other.packed is not native.packed


def test_copies_of_what_is_bound_compute_the_same(state):
    bound = potential().bind(state)
    expected, _ = bound(state.positions, None)
    for other in (copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):  # noqa: S301
        assert torch.equal(other(state.positions, None)[0].forces, expected.forces)


def test_threads_set_after_binding_count(state):
    bound, before = potential().bind(join_states([state, state])), torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert bound.threads == before + 1
    finally:
        torch.set_num_threads(before)


def test_forgets_the_sets_of_atoms_bound_longest_ago(state, monkeypatch):
    monkeypatch.setattr(network_potential, "KEPT", 2)
    native = potential()
    states = [state.replace(numbers=numbers) for numbers in (state.numbers, state.numbers.flip(0))]
    first, second = (native.bind(one) for one in states)
    assert native.bind(states[0]) is first
    native.bind(state.replace(numbers=torch.full_like(state.numbers, 6)))
    assert native.bind(states[0]) is first
    assert native.bind(states[1]) is not second
