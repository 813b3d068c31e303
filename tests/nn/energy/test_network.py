"""Energy networks of all backbones."""

import json
import sys

import e3nn
import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import BACKBONES as ALL_BACKBONES
from kstep_integrators.nn.energy.network import EnergyNetwork
from tests.conftest import ELEMENTS, LINEAR, network

BACKBONES = sorted(ALL_BACKBONES)
NETWORKS = [*BACKBONES, *LINEAR]


@pytest.mark.parametrize("backbone", NETWORKS)
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


@pytest.mark.parametrize("backbone", NETWORKS)
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


@pytest.mark.parametrize("backbone", NETWORKS)
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
