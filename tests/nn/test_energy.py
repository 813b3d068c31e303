import itertools
import json
import sys

import e3nn
import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.attention import smooth_softmax
from kstep_integrators.nn.common.graph import displacements
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.nn.common.radial import BesselBasis, frozen_below, smooth_cutoff
from kstep_integrators.nn.energy.forces import compiled_forces, energy_and_forces
from kstep_integrators.nn.energy.heads import Repulsion
from kstep_integrators.nn.energy.network import BACKBONES as ALL_BACKBONES
from kstep_integrators.nn.energy.network import EnergyNetwork
from tests.conftest import ELEMENTS, network

BACKBONES = sorted(ALL_BACKBONES)


def test_the_cutoff_has_three_continuous_derivatives():
    derivatives = []
    d = torch.tensor([1e-3, 5.0 - 1e-9, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    value = smooth_cutoff(d, 5.0)
    for _ in range(3):
        (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
        derivatives.append(value.detach())
    for derivative in derivatives:
        assert derivative[0].abs() < 1e-1 * 1e-3 or derivative[0].abs() < 2e-3
        assert derivative[1:].abs().max() < 1e-6
    assert smooth_cutoff(torch.tensor(5.0), 5.0) == 0
    assert smooth_cutoff(torch.tensor(0.0), 5.0) == 1
    # u = 1/2: 1 - 35/16 + 84/32 - 70/64 + 20/128 = 1/2
    assert float(smooth_cutoff(torch.tensor(2.5, dtype=torch.float64), 5.0)) == pytest.approx(0.5)


def test_the_bessel_basis_is_orthonormal():
    basis = BesselBasis(4, 5.0)
    r = torch.linspace(1e-6, 5.0, 20001, dtype=torch.float64)
    values = basis(r) * r.unsqueeze(-1)
    overlap = torch.trapezoid(values.unsqueeze(-1) * values.unsqueeze(-2), r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_forces_are_minus_the_gradient(backbone, state):
    net = network(backbone).double()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    x = state.positions[None]
    _, forces = energy_and_forces(net, None, x, graph)
    assert forces.abs().max() > 0.1
    for atom, axis in ((0, 0), (4, 1), (8, 2)):
        shift = torch.zeros_like(x)
        shift[0, atom, axis] = 1e-4
        up, down = (net.interaction_energy(x + s, graph).sum() for s in (shift, -shift))
        assert float(forces[0, atom, axis]) == pytest.approx(float(down - up) / 2e-4, abs=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_energy_is_invariant_and_forces_turn_with_the_molecule(backbone, state):
    net = network(backbone).double()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    energy, forces = energy_and_forces(net, None, state.positions[None], graph)
    for matrix in (rotation, -rotation):
        moved = state.positions @ matrix.T + torch.tensor([5.0, -7.0, 100.0])
        turned_energy, turned = energy_and_forces(net, None, moved[None], graph)
        assert (turned_energy - energy).abs().max() < 1e-9
        assert (turned - forces @ matrix.T).abs().max() < 1e-9
    assert forces.sum(1).abs().max() < 1e-9
    torque = torch.linalg.cross(state.positions[None], forces).sum(1)
    assert torque.abs().max() < 1e-9


@pytest.mark.parametrize("backbone", BACKBONES)
def test_atoms_beyond_the_cutoff_do_not_matter(backbone):
    net = network(backbone).double()
    numbers = torch.tensor([6, 8, 6, 8])
    near = torch.tensor([[0, 0, 0], [1.2, 0, 0]], dtype=torch.float64)
    graph = dense_graph(net.species_of[numbers], make_padding(torch.zeros(4, dtype=torch.int64)))
    forces = [
        energy_and_forces(
            net, None, torch.cat([near, near + torch.tensor([gap, 0, 0])])[None], graph
        )[1][0, :2]
        for gap in (7.0, 50.0)
    ]
    torch.testing.assert_close(forces[0], forces[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("pair", [(1, 1), (1, 6), (1, 8), (6, 6), (6, 7), (7, 8), (8, 8)])
def test_repulsion_pushes_apart_and_vanishes_at_bond_length(pair):
    net = EnergyNetwork(ELEMENTS, channels=8, layers=1).double()
    numbers = torch.tensor(pair)
    graph = dense_graph(net.species_of[numbers], make_padding(torch.zeros(2, dtype=torch.int64)))
    repulsion = net.repulsion
    bond = covalent_radii[pair[0]] + covalent_radii[pair[1]]
    previous = np.inf
    for d in np.linspace(0.05, bond, 20):
        x = torch.tensor([[0, 0, 0], [d, 0, 0]], dtype=torch.float64)[None]
        energy = float(repulsion(displacements(x, graph)[1], graph).sum())
        assert 0 <= energy < previous
        previous = energy
    assert previous == 0


def test_distances_are_frozen_below_the_nearest():
    d = torch.linspace(0.05, 2.0, 4000, dtype=torch.float64, requires_grad=True)
    nearest = torch.tensor(1.0, dtype=torch.float64)
    seen = frozen_below(d, nearest)
    inside, beyond = d.detach() < 0.8, d.detach() >= 1.0
    assert (seen[beyond] == d[beyond]).all()
    # 1 - w + w (1 - P(1)), P(1) = 1/2
    assert (seen[inside] - 0.9).abs().max() < 1e-12
    value, step = seen, float(d.detach().diff()[0])
    slopes = []
    for _ in range(4):
        (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
        slopes.append(value.detach())
        assert value[inside].abs().max() == 0
    # continuous: no jump beyond what the next derivative explains
    for low, high in itertools.pairwise(slopes):
        assert low.diff().abs().max() < 1.5 * step * high.abs().max()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("pair", [(1, 1), (1, 6), (6, 8), (7, 7)])
def test_no_close_contact_is_attractive_whatever_the_weights(backbone, pair):
    for seed in range(5):
        net = EnergyNetwork(ELEMENTS, backbone, scale=100.0, channels=16).double()
        numbers = torch.tensor(pair)
        graph = dense_graph(net.species_of[numbers], make_padding(torch.zeros(2).long()))
        torch.manual_seed(seed)
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        bond = covalent_radii[pair[0]] + covalent_radii[pair[1]]
        for d in np.linspace(0.05, 0.39 * bond, 8):
            x = torch.tensor([[[0, 0, 0], [d, 0, 0]]], dtype=torch.float64)
            _, forces = energy_and_forces(net, None, x, graph)
            assert float(forces[0, 1, 0]) > 0


def test_screened_coulomb_by_hand():
    # two carbons at 0.5 A: a = 0.88534 * 0.529177 / (2 * 6^0.23) = 0.155123 A, x = 3.22325
    # phi = 0.18175 e^-10.3138 + 0.50986 e^-3.03724 + 0.28022 e^-1.29865 + 0.02817 e^-0.649871
    #     = 0.000006 + 0.024452 + 0.076477 + 0.014707 = 0.115642
    # 36 * 14.399645 / 0.5 * 0.115642 = 119.896 eV; u = 0.5 / 1.52, cutoff = 0.811...
    graph = dense_graph(torch.tensor([0, 0]), make_padding(torch.zeros(2, dtype=torch.int64)))
    d = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]], dtype=torch.float64)
    d[0, 0, 0] = d[0, 1, 1] = 1000.0
    energy = Repulsion([6], torch.tensor([[1.52]])).double()(d, graph).sum()
    u = 0.5 / 1.52
    cut = 1 - 35 * u**4 + 84 * u**5 - 70 * u**6 + 20 * u**7
    assert float(energy) == pytest.approx(119.896 * cut, rel=1e-3)


@pytest.mark.slow
def test_the_compiled_force_is_the_eager_one(state):
    net = network("painn").float()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    x = state.positions[None]
    compiled = compiled_forces(net, x, graph)
    for shift in (0.0, 0.1):
        moved = x + shift * torch.sin(torch.arange(27.0)).reshape(1, 9, 3).double()
        energy, forces = compiled(dict(net.named_parameters()), moved, graph)
        eager_energy, eager = energy_and_forces(net, None, moved, graph)
        torch.testing.assert_close(forces, eager, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(energy, eager_energy.double().sum(-1), atol=1e-4, rtol=1e-4)


LAYERS = {
    "egnn": "center neighbor distance message gate hidden out",
    "painn": "phi_in phi_out filter mix hidden out",
    "tensor_product": "sent hidden weights gathered kept",
    "transformer": "norm query key value position_bias filter gathered gate hidden_norm hidden out",
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_keep_the_names_of_saved_model_files(backbone):
    names = [name for name, _ in network(backbone, layers=2).named_parameters()]
    parts = [name.split(".") for name in names if name.startswith("backbone.")]
    assert parts[0] == ["backbone", "embedding", "weight"]
    lists = ["messages", "updates"] if backbone == "painn" else ["layers"]
    assert list(dict.fromkeys(part[1] for part in parts[1:])) == lists
    first = [part[3] for part in parts[1:] if part[2] == "0"]
    assert list(dict.fromkeys(first)) == LAYERS[backbone].split()
    assert list(dict.fromkeys(name for name in names if name.startswith("readout"))) == [
        f"readout.{layer}.{kind}" for layer in ("hidden", "out") for kind in ("weight", "bias")
    ]


def test_wrong_networks_are_refused():
    with pytest.raises(ValueError, match="unknown backbone 'mpnn'"):
        EnergyNetwork(ELEMENTS, "mpnn")
    with pytest.raises(ValueError, match=r"nearest has shape \(1, 1\); expected \(4, 4\)"):
        EnergyNetwork(ELEMENTS, nearest=[[1.0]])
    with pytest.raises(ValueError, match="2 shifts given for 4 elements"):
        EnergyNetwork(ELEMENTS, shifts=[0.0, 1.0])


def test_a_backbone_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "e3nn", None)
    for module in ("common.tensor_products", "energy.tensor_product"):
        monkeypatch.delitem(sys.modules, f"kstep_integrators.nn.{module}", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'kstep-integrators\[e3nn\]'"):
        EnergyNetwork(ELEMENTS, "tensor_product")


def test_the_channels_of_a_transformer_are_divided_among_its_heads():
    with pytest.raises(ValueError, match="channels is 10; the transformer needs a multiple of 4"):
        EnergyNetwork(ELEMENTS, "transformer", channels=10)


def test_making_tensor_products_leaves_settings_alone():
    before = torch.get_default_dtype(), e3nn.get_optimization_defaults()
    net = EnergyNetwork(ELEMENTS, "tensor_product", channels=8)
    assert (torch.get_default_dtype(), e3nn.get_optimization_defaults()) == before
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_network_is_its_configuration_and_its_weights(backbone, state):
    net = network(backbone).double()
    config = json.loads(json.dumps(net.config))
    again = EnergyNetwork(**config)
    assert again.config == net.config
    again.load_state_dict(dict(net.named_parameters()))
    again.double()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    energies = [n.interaction_energy(state.positions[None], graph) for n in (net, again)]
    assert energies[0].abs().max() > 0.1
    torch.testing.assert_close(energies[0], energies[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_energies_have_three_continuous_derivatives_at_the_cutoff(backbone):
    # An atom that leaves the cutoff of another: differences across it, against those beside it.
    net = network(backbone, cutoff=3.0).double()
    numbers = torch.tensor([8, 6, 1])
    graph = dense_graph(net.species_of[numbers], make_padding(torch.zeros(3).long()))

    def energy(d: torch.Tensor) -> torch.Tensor:
        x = torch.zeros(3, 3, dtype=torch.float64)
        x = x + torch.tensor([[0.0, 0, 0], [-1.2, 0, 0], [0, 0, 0]], dtype=torch.float64)
        x = torch.cat([x[:2], torch.stack([d, 0 * d + 0.1, 0 * d]).unsqueeze(0)])
        return net.interaction_energy(x[None], graph).sum()

    at = float(np.sqrt(9.0 - 0.01))

    def derivatives(d: float) -> torch.Tensor:
        where = torch.tensor(d, dtype=torch.float64, requires_grad=True)
        value = energy(where)
        row = [value.detach()]
        for _ in range(3):
            (value,) = torch.autograd.grad(value, where, create_graph=True)
            row.append(value.detach())
        return torch.stack(row)

    wide, narrow = ((derivatives(at + d) - derivatives(at - d)).abs() for d in (4e-3, 1e-3))
    # What is continuous changes in proportion to the step.
    assert (narrow < 0.5 * wide + 1e-9).all()


def test_attention_is_smooth_and_leaves_nothing_undefined():
    logits = torch.tensor([[1.0, 2.0, 800.0], [700.0, -800.0, 3.0]], dtype=torch.float64)
    envelope = torch.tensor([[1.0, 0.5, 0.0], [1e-300, 1.0, 1.0]], dtype=torch.float64)
    weights = smooth_softmax(logits, envelope)
    e = np.exp([1.0, 2.0])
    total = 1 + e[0] + 0.5 * e[1]
    assert weights[0].tolist() == pytest.approx([e[0] / total, 0.5 * e[1] / total, 0.0])
    assert weights.isfinite().all()
    assert (smooth_softmax(logits, 0 * envelope) == 0).all()


def test_compiling_without_a_compiler_says_what_to_do(state, monkeypatch):
    net = network().double()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler"):
        compiled_forces(net, state.positions[None], graph)
