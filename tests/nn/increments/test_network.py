"""The network of direct jumps."""

import copy
import json
import math
import sys

import pytest
import torch

from kstep_integrators import DirectJump
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.common.neighbor_lists import build_skin_list, dense_graph
from kstep_integrators.nn.increments.network import (
    INCREMENT_BACKBONES,
    IncrementNetwork,
    Increments,
)
from kstep_integrators.state import Evaluation, PhaseState, velocities
from kstep_integrators.testing import assert_jump
from tests.conftest import ELEMENTS, hot
from tests.potentials.test_potentials import together

BACKBONES = sorted(INCREMENT_BACKBONES)
MASSES = [1.008, 12.011, 14.007, 15.999]
HEADER = ModelHeader("untrained", {}, "none")
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
    return [state_from_atoms(hot("ethanol")), state_from_atoms(hot("methanol", seed=1))]


def parts(result: Increments) -> list[torch.Tensor]:
    return [result.positions, result.velocities] + [result.forces] * (result.forces is not None)


def same(a: Increments, b: Increments, tolerance: float = 1e-9) -> None:
    for x, y in zip(parts(a), parts(b), strict=True):
        assert y.abs().max() > 1e-3
        assert (x - y).abs().max() < tolerance


def mapped(result: Increments, change) -> Increments:
    forces = None if result.forces is None else change(result.forces)
    return Increments(change(result.positions), change(result.velocities), forces)


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


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_contract_of_a_jump(backbone, pair):
    jump = DirectJump(increments(backbone), HEADER, dtype=torch.float64, device="cpu")
    forces = torch.sin(1.0 + torch.arange(27.0, dtype=torch.float64)).reshape(9, 3)
    physics = Evaluation(torch.zeros(1, dtype=torch.float64), forces - forces.mean(0))
    assert_jump(jump, pair[0], physics, k=4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_increments_carry_no_momentum(backbone, pair):
    net = increments(backbone, force_head=True)
    x, v, f, stride, graph = inputs(net, *pair)
    found = net(x, v, f, stride, graph)
    masses = net.masses[graph.species].unsqueeze(-1) * graph.atom_mask.unsqueeze(-1)
    for part in parts(found)[:2]:
        assert part.abs().max() > 1e-3
        assert (masses * part).sum(1).abs().max() < 1e-12
    # Nor is the force they predict more than that at the start as a whole.
    assert (found.forces - f).abs().max() > 0.1
    assert (found.forces - f).sum(1).abs().max() < 1e-12


@pytest.mark.parametrize("backbone", BACKBONES)
def test_increments_are_bounded_whatever_the_weights(backbone, pair):
    net = increments(backbone, bound=2.0)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=1.0)
    found = net(*inputs(net, *pair, stride=2))
    for part, scale in ((found.positions, SCALES[2][0][0]), (found.velocities, SCALES[2][0][1])):
        # The projection moves all atoms by less than the bound once more.
        assert scale < part.norm(dim=-1).max() <= 4.0 * scale


def test_the_bound_acts_on_lengths():
    net = increments(bound=2.0)
    raw = torch.tensor([[[3.0, 4.0, 0.0], [1e-4, 0.0, 0.0]]], dtype=torch.float64)
    bounded = net.bounded(raw)[0]
    expected = 2.0 * math.tanh(2.5) / 5.0
    assert bounded[0].tolist() == pytest.approx([3 * expected, 4 * expected, 0.0])
    assert bounded[1].tolist() == pytest.approx([1e-4, 0.0, 0.0], rel=1e-6)
    assert (net.bounded(torch.zeros_like(raw)) == 0).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_stride_the_velocities_and_the_forces_have_an_effect(backbone, pair):
    net = increments(backbone, force_head=True)
    x, v, f, stride, graph = inputs(net, *pair)
    found = net(x, v, f, stride, graph)
    for other in (
        net(x, v, f, stride - 1, graph),
        net(x, -v, f, stride, graph),
        net(x, v, -f, stride, graph),
    ):
        for a, b in zip(parts(other), parts(found), strict=True):
            assert (a - b).abs().max() > 1e-3
    # Molecules of a batch have strides of their own.
    mixed = net(x, v, f, torch.tensor([1, 0]), graph)
    same(mapped(mixed, lambda part: part[:1]), mapped(found, lambda part: part[:1]), 1e-12)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_untrained_network_adds_next_to_nothing(backbone, pair):
    torch.manual_seed(0)
    net = IncrementNetwork(ELEMENTS, STRIDES, 0.5, "verlet", SCALES, MASSES, backbone).double()
    found = net(*inputs(net, *pair, stride=2))
    assert 0 < found.positions.abs().max() < 0.2 * SCALES[2][0][0]
    assert 0 < found.velocities.abs().max() < 0.2 * SCALES[2][0][1]
    assert found.forces is None


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_increments_are_smooth_at_the_cutoff(backbone):
    net = increments(backbone, cutoff=3.0)
    graph = dense_graph(torch.tensor([3, 1, 0]), make_padding(torch.zeros(3).long()))
    vectors = torch.sin(torch.arange(9.0, dtype=torch.float64)).reshape(1, 3, 3)

    def landed(d: float) -> torch.Tensor:
        x = torch.tensor([[[0.0, 0, 0], [-1.2, 0, 0], [d, 0.1, 0]]], dtype=torch.float64)
        return net(x, 0.03 * vectors, vectors, torch.tensor([1]), graph).positions

    at, far = math.sqrt(9.0 - 0.01), landed(9.0)
    moved = torch.stack([landed(at - d) - far for d in (0.4, 0.2, 0.1)]).abs().amax((1, 2, 3))
    # Falls with the fourth power of the distance from the cutoff, or nearly.
    assert moved[0] > 1e-6
    assert (moved[1:] < moved[:-1] / 6).all()
    assert (landed(at + 1e-3) == far).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_atom_alone_is_finite(backbone):
    net = increments(backbone)
    graph = dense_graph(torch.tensor([1]), make_padding(torch.zeros(1).long()))
    zero = torch.zeros(1, 1, 3, dtype=torch.float64)
    found = net(zero, zero, zero, torch.tensor([0]), graph)
    assert (found.positions == 0).all()
    assert (found.velocities == 0).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_network_learns(backbone, pair):
    """What it is made for: damping along bonds, which couples atoms by their directions."""
    torch.manual_seed(0)
    net = IncrementNetwork(
        ELEMENTS, STRIDES, 0.5, "plain", SCALES, MASSES, backbone, 16, 2, 8, force_head=True
    ).float()
    x, v, f, stride, graph = inputs(net, *pair)
    vectors = (x.unsqueeze(1) - x.unsqueeze(2)) * graph.pair_mask.unsqueeze(-1)
    distances = vectors.square().sum(-1, keepdim=True).clamp(min=0.1)
    pull = vectors * (vectors * (v.unsqueeze(1) - v.unsqueeze(2))).sum(-1, keepdim=True)
    masses = net.masses[graph.species].unsqueeze(-1)
    target = ((pull / distances**3).sum(2) / masses).float()
    target = target / target.std()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        found = net(x, v, f, stride, graph)
        terms = [
            found.positions / SCALES[1][0][0] - target,
            found.velocities / SCALES[1][0][1] - target,
            found.forces - f.float() - target,
        ]
        loss = sum(term.square().mean() for term in terms)
        optimizer.zero_grad()
        loss.backward()
        for name, weight in net.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_network_is_its_configuration_and_its_weights(backbone, pair):
    net = increments(backbone, bound=3.0, cutoff=4.0, force_head=True)
    again = IncrementNetwork(**json.loads(json.dumps(net.config))).double()
    assert again.config == net.config
    again.load_state_dict(dict(net.named_parameters()))
    arguments = inputs(net, *pair)
    same(again(*arguments), net(*arguments), 1e-12)


LAYERS = {
    "egnn": "norm center neighbor distance rate vectors message coefficients gathered update",
    "painn": "norm hidden sent received vectors filters exchange update",
    "tensor_product": "sent hidden weights gathered kept",
    "transformer": "norm query key position_bias center neighbor vectors distance rate "
    "coefficients gathered pushed exchanged update",
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_keep_the_names_of_saved_model_files(backbone):
    names = [name for name, _ in increments(backbone).named_parameters()]
    whole = ["element", "stride", "inputs", "backbone", "readout"]
    assert list(dict.fromkeys(name.split(".")[0] for name in names)) == whole
    first = [name.split(".")[3] for name in names if name.startswith("backbone.layers.0.")]
    assert list(dict.fromkeys(first)) == LAYERS[backbone].split()


def test_single_precision_far_from_the_origin(pair):
    net = increments()
    x, v, f, stride, graph = inputs(net, *pair)
    exact = net(x, v, f, stride, graph)
    single = copy.deepcopy(net).float()(x + 1e4, v, f, stride, graph)
    assert single.positions.dtype == torch.float32
    same(mapped(single, lambda part: part.double()), exact, 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "mpnn"}, r"unknown backbone 'mpnn' of increments; choose one of \['egnn'"),
        ({"baseline": "euler"}, r"unknown baseline 'euler'; choose one of \['plain', 'verlet'\]"),
        ({"strides": [4, 4, 8]}, r"strides are \[4, 4, 8\]; expected different positive integers"),
        ({"strides": [0, 4, 8]}, r"strides are \[0, 4, 8\]"),
        ({"scales": SCALES[:2]}, r"scales have shape \(2, 4, 2\); expected \(3, 4, 2\)"),
        ({"scales": [[[0.0, 1.0]] * 4] * 3}, "all positive"),
        ({"masses": MASSES[:3]}, "for 4 elements; expected one positive mass each"),
        ({"bound": 0.0}, "bound is 0.0 and timestep_fs 0.5; expected positive numbers"),
        ({"timestep_fs": -1.0}, "timestep_fs -1.0"),
        ({"channels": 20, "heads": 8}, "20 channels and 8 heads given"),
        ({"channels": 16, "heads": 2, "backbone": "transformer"}, "expected heads a multiple of 4"),
    ],
)
def test_wrong_networks_are_refused(change, message):
    config = {**increments("egnn", channels=8).config, **change}
    with pytest.raises(ValueError, match=message):
        IncrementNetwork(**config)


def test_a_backbone_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "e3nn", None)
    for module in ("common.tensor_products", "increments.tensor_product"):
        monkeypatch.delitem(sys.modules, f"kstep_integrators.nn.{module}", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'kstep-integrators\[e3nn\]'"):
        increments("tensor_product")


def test_neighbor_lists_are_refused(pair):
    net = increments()
    x, v, f, stride, graph = inputs(net, pair[0])
    rows = build_skin_list(x[0], graph.species[0], torch.zeros(9).long(), net.cutoff).graph
    with pytest.raises(ValueError, match="expected a dense graph"):
        net(x[0], v[0], f[0], stride, rows)
