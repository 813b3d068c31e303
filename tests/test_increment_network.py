"""The network of direct jumps."""

import pytest
import torch

from kstep_integrators.neighbors import dense_graph, make_padding
from kstep_integrators.nn.graph import Graph
from kstep_integrators.nn.increment_network import (
    INCREMENT_BACKBONES,
    IncrementNetwork,
    Increments,
)
from kstep_integrators.state import PhaseState, velocities
from tests.conftest import ELEMENTS, hot
from tests.test_potentials import together

BACKBONES = sorted(INCREMENT_BACKBONES)
MASSES = [1.008, 12.011, 14.007, 15.999]
STRIDES = [2, 4, 8]
SCALES = [[[0.01 * k, 0.002 * k]] * 4 for k in STRIDES]


def increments(backbone="transformer", seed=0, **config):
    """A network whose increments are of the order of their scale, as those of a trained one."""
    torch.manual_seed(seed)
    config = {"channels": 16, "layers": 2, "radial": 8, **config}
    net = IncrementNetwork(ELEMENTS, STRIDES, 0.5, "plain", SCALES, MASSES, backbone, **config)
    net = net.double().requires_grad_(False)
    for weight in (net.readout.out.weight, net.readout.own.weight):
        torch.nn.init.normal_(weight, std=0.3)
    return net


def inputs(net: IncrementNetwork, *states: PhaseState, stride: int = 1) -> tuple:
    """Arguments of a network for molecules of different sizes."""
    state = together(*states)
    padding = make_padding(state.batch)
    graph = dense_graph(net.species_of[state.numbers], padding)
    generator = torch.Generator().manual_seed(7)
    forces = torch.randn(state.positions.shape, generator=generator, dtype=torch.float64)
    return (
        padding.pad(state.positions),
        padding.pad(velocities(state)),
        padding.pad(forces),
        torch.full((len(graph.species),), stride),
        graph,
    )


@pytest.fixture
def pair() -> list[PhaseState]:
    from kstep_integrators.ase_state import state_from_atoms

    return [state_from_atoms(hot("ethanol")), state_from_atoms(hot("methanol", seed=1))]


def parts(result: Increments) -> list[torch.Tensor]:
    return [result.positions, result.velocities] + [result.forces] * (result.forces is not None)


def same(a: Increments, b: Increments, tolerance: float = 1e-9) -> None:
    for x, y in zip(parts(a), parts(b), strict=True):
        assert y.abs().max() > 1e-3
        assert (x - y).abs().max() < tolerance


def mapped(result: Increments, change) -> Increments:
    return Increments(*(change(part) for part in parts(result)))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_increments_turn_with_the_molecule(backbone, pair):
    net = increments(backbone, force_head=True)
    x, v, f, stride, graph = inputs(net, *pair)
    found = net(x, v, f, stride, graph)
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    for matrix in (rotation, -rotation):
        shift = torch.tensor([5.0, -7.0, 100.0], dtype=torch.float64)
        turned = net(x @ matrix.T + shift, v @ matrix.T, f @ matrix.T, stride, graph)
        same(turned, mapped(found, lambda part, m=matrix: part @ m.T))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_increments_follow_the_order_of_atoms(backbone, pair):
    net = increments(backbone, force_head=True)
    x, v, f, stride, graph = inputs(net, pair[0])
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = Graph(graph.species[:, order], graph.atom_mask, graph.pair_mask)
    found = net(x[:, order], v[:, order], f[:, order], stride, shuffled)
    same(found, mapped(net(x, v, f, stride, graph), lambda part: part[:, order]))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_and_other_molecules_change_nothing(backbone, pair):
    net = increments(backbone, force_head=True)
    both = net(*inputs(net, *pair))
    x, v, f, stride, graph = inputs(net, *pair)
    small = int(graph.atom_mask[1].sum())
    alone = Graph(
        graph.species[1:, :small], graph.atom_mask[1:, :small], graph.pair_mask[1:, :small, :small]
    )
    found = net(x[1:, :small], v[1:, :small], f[1:, :small], stride[1:], alone)
    same(mapped(both, lambda part: part[1:, :small]), found, 1e-12)
    for part in parts(both)[:2]:
        assert (part[1, small:] == 0).all()
    v[1, small:] = 3.0
    x[1, small:] = 7.0
    same(net(x, v, f, stride, graph), both, 1e-12)
