"""Positions averaged along a flow from rest by the native kernel, and the adjoint of that."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import torch
from ase import units
from torch import Tensor

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.common.neighbor_lists import dense_layout
from kstep_integrators.potentials import NetworkPotential, native_forces
from kstep_integrators.potentials.native_forces import NativeForces
from kstep_integrators.state import PhaseState
from tests.conftest import ELEMENTS, hot, network


def bound(state: PhaseState, backbone: str = "linear", dtype=torch.float64) -> NativeForces:
    built = network(backbone)
    header = ModelHeader("untrained", built.config, "none")
    forces = NetworkPotential(built, header, device="cpu", dtype=dtype).bind(state)
    assert isinstance(forces, NativeForces)
    return forces


def rate_of(state: PhaseState, fs: float = 0.5) -> Tensor:
    return (fs * units.fs) ** 2 / state.masses


def window(steps: int) -> Tensor:
    """Weights that fall, one of them below zero, and sum to one."""
    weights = 1.2 ** -torch.arange(steps + 1, dtype=torch.float64)
    weights[steps // 2] *= -0.3
    return weights / weights.sum()


def averaged(forces: NativeForces, x: Tensor, rate: Tensor, weights: Tensor):
    return forces.average(x, forces(x, None)[0].forces, rate, weights)


def by_autograd(
    state: PhaseState, x: Tensor, rate: Tensor, weights: Tensor
) -> tuple[list[Tensor], Tensor]:
    """The same with PyTorch, which can be differentiated."""
    net = network("linear").double().requires_grad_(False)
    kinds = torch.tensor([ELEMENTS.index(z) for z in state.numbers.tolist()])
    padding, graph = dense_layout(kinds, state.batch, torch.device("cpu"))

    def forces(x: Tensor) -> Tensor:
        energy = net.interaction_energy(padding.pad(x), graph)
        return -torch.autograd.grad(energy.sum(), x, create_graph=True)[0]

    path = [x, x + 0.5 * rate * forces(x)]
    for _ in weights[2:]:
        path.append(2 * path[-1] - path[-2] + rate * forces(path[-1]))
    return path, sum(w * at for w, at in zip(weights, path, strict=True))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_path_mean_and_adjoint_are_those_of_automatic_differentiation(steps, state):
    both = join_states([state, state_from_atoms(hot("water"))])
    forces, rate, weights = bound(both), rate_of(both), window(steps)
    leaf = both.positions.clone().requires_grad_(True)
    positions, wanted = by_autograd(both, leaf, rate, weights)
    path, mean = averaged(forces, both.positions, rate, weights)
    assert path.shape == (steps + 1, 12, 3)
    torch.testing.assert_close(path, torch.stack(positions).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(mean, wanted.detach(), rtol=0, atol=1e-12)
    vector = torch.randn(mean.shape, dtype=torch.float64)
    (adjoint,) = torch.autograd.grad(wanted, leaf, vector)
    found = forces.average_adjoint(path, rate, weights, vector)
    torch.testing.assert_close(found, adjoint, rtol=0, atol=1e-11)


def test_the_adjoint_is_the_derivative_of_the_mean(state):
    forces, rate, weights = bound(state), rate_of(state), window(16)
    along, vector = torch.randn(2, 9, 3, dtype=torch.float64)
    path, _ = averaged(forces, state.positions, rate, weights)
    step, slope = 2e-5, 0.0
    for far, share in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
        _, mean = averaged(forces, state.positions + far * step * along, rate, weights)
        slope += share * float((mean * vector).sum()) / step
    found = float((forces.average_adjoint(path, rate, weights, vector) * along).sum())
    assert found == pytest.approx(slope, abs=1e-8)
    assert abs(found - float((vector * along).sum())) > 0.1  # the path bends


def test_moved_and_turned_with_the_molecule(state):
    forces, rate, weights = bound(state), rate_of(state), window(8)
    vector = torch.randn(9, 3, dtype=torch.float64)
    path, mean = averaged(forces, state.positions, rate, weights)
    adjoint = forces.average_adjoint(path, rate, weights, vector)
    torch.testing.assert_close(adjoint.sum(0), vector.sum(0), rtol=0, atol=1e-12)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    shift = torch.tensor([30.0, -20.0, 10.0], dtype=torch.float64)
    moved, there = averaged(forces, state.positions @ turn.T + shift, rate, weights)
    torch.testing.assert_close(there, mean @ turn.T + shift, rtol=0, atol=1e-11)
    turned = forces.average_adjoint(moved, rate, weights, vector @ turn.T)
    torch.testing.assert_close(turned, adjoint @ turn.T, rtol=0, atol=1e-9)


def test_fixed_atoms_stay_and_still_feel(state):
    forces, rate, weights = bound(state), rate_of(state), window(8)
    rate[[0, 4]] = 0.0
    path, mean = averaged(forces, state.positions, rate, weights)
    assert (path[:, [0, 4]] == state.positions[[0, 4]]).all()
    assert torch.equal(mean[[0, 4]], state.positions[[0, 4]])
    vector = torch.randn(9, 3, dtype=torch.float64)
    found = forces.average_adjoint(path, rate, weights, vector)
    leaf = state.positions.clone().requires_grad_(True)
    _, wanted = by_autograd(state, leaf, rate, weights)
    (adjoint,) = torch.autograd.grad(wanted, leaf, vector)
    torch.testing.assert_close(found, adjoint, rtol=0, atol=1e-10)
    assert (found[0] - vector[0]).abs().max() > 1e-3


def test_single_precision_is_near_double(state):
    weights, vector = window(16), torch.randn(9, 3, dtype=torch.float64)
    rate, found = rate_of(state), []
    for dtype in (torch.float32, torch.float64):
        forces = bound(state, dtype=dtype)
        path, mean = averaged(forces, state.positions, rate, weights)
        found.append((mean, forces.average_adjoint(path, rate, weights, vector)))
    (mean, adjoint), (exact, wanted) = found
    assert 0 < (mean - exact).abs().max() < 1e-5
    assert 0 < (adjoint - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_depend_neither_on_calls_nor_on_company_nor_on_threads(dtype, monkeypatch, state):
    states = [state, state_from_atoms(hot("water")), state.replace(positions=state.positions + 5)]
    both = join_states(states)
    forces, weights = bound(both, dtype=dtype), window(7)
    vector = torch.randn(both.positions.shape, dtype=torch.float64)

    def all_of(forces: NativeForces, state: PhaseState, vector: Tensor) -> list[Tensor]:
        rate = rate_of(state)
        path, mean = averaged(forces, state.positions, rate, weights)
        return [*path, mean, forces.average_adjoint(path, rate, weights, vector)]

    expected = all_of(forces, both, vector)
    for at_once in (1, 60, 150):
        monkeypatch.setattr(native_forces, "ATOM_STEPS", at_once)
        for found, known in zip(all_of(forces, both, vector), expected, strict=True):
            assert torch.equal(found, known)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for found, known in zip(all_of(forces, both, vector), expected, strict=True):
            assert torch.equal(found, known)
    finally:
        torch.set_num_threads(before)
    for n, one in enumerate(states):
        mine = both.batch == n
        alone = all_of(bound(one, dtype=dtype), one, vector[mine])
        for found, known in zip(alone, expected, strict=True):
            assert torch.equal(found, known[mine])


def test_a_replica_that_is_nowhere_leaves_the_others_alone(state):
    two = join_states([state, state])
    forces, rate, weights = bound(two), rate_of(two), window(3)
    vector = torch.randn(18, 3, dtype=torch.float64)
    path, mean = averaged(forces, two.positions, rate, weights)
    adjoint = forces.average_adjoint(path, rate, weights, vector)
    lost = two.positions.clone()
    lost[3, 1] = torch.nan
    found, there = averaged(forces, lost, rate, weights)
    assert torch.equal(there[9:], mean[9:])
    assert torch.isnan(there[:9]).all()
    back = forces.average_adjoint(found, rate, weights, vector)
    assert torch.equal(back[9:], adjoint[9:])
    assert torch.isnan(back[:9]).all()


@pytest.mark.parametrize("what", ["average", "adjoint", "products"])
def test_an_interrupt_comes_through(what, state):
    """A long average is many calls of the kernel, and Python is asked between them."""
    many = join_states([state] * 40)
    forces, rate, weights = bound(many), rate_of(many), window(400)
    rest = forces(many.positions, None)[0].forces
    path = many.positions.expand(401, -1, -1).contiguous()
    vectors = torch.randn(400, *many.positions.shape, dtype=torch.float64)
    forces.linearized(many.positions)(vectors[:1])
    began: list[float] = []

    def interrupt() -> None:
        began.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    calls = {
        "average": lambda: forces.average(many.positions, rest, rate, weights),
        "adjoint": lambda: forces.average_adjoint(path, rate, weights, rest),
        "products": lambda: forces.linearized(many.positions)(vectors),
    }
    threading.Timer(0.05, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        calls[what]()
    assert time.perf_counter() - began[0] < 1.0


def test_arrays_of_other_shapes_are_refused(state):
    forces, rate, weights = bound(state), rate_of(state), window(3)
    x = state.positions
    rest = forces(x, None)[0].forces
    path, _ = forces.average(x, rest, rate, weights)
    for wrong in ((x[1:], rest, rate), (x, rest[1:], rate), (x, rest, rate[1:])):
        with pytest.raises(ValueError, match=r"shape .*expected"):
            forces.average(*wrong, weights)
    for wrong in ((path[:, 1:], rate, weights, rest), (path, rate, weights[1:], rest),
                  (path, rate[1:], weights, rest), (path, rate, weights, rest[1:])):  # fmt: skip
        with pytest.raises(ValueError, match=r"shape .*expected"):
            forces.average_adjoint(*wrong)
    with pytest.raises(ValueError, match=r"sum to 1\.5, expected 1"):
        forces.average(x, rest, rate, 1.5 * weights)
