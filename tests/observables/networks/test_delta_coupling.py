"""The network that corrects a cheap coupling."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.graphs import Batch, Data, dimer_graph
from kstep_integrators.testing import assert_observable
from tests.observables.networks.systems import coupling, dimer, shaken, slopes

SWITCHES: list[dict[str, Any]] = [
    {},
    {"learned_frequencies": True},
    {"field_node": False},
    {"orbital_pairs": False},
    {"orbital_pairs": False, "cheap_input": False},
    {"lmax": 1},
    {"lmax": 0, "features": "4x0e", "field_node": False},
    {"features": "4x0e + 2x1o + 2x2e + 1x3o", "layers": 3},
]


def pair(separation: float) -> Data:
    """A hydrogen atom at the origin, and a carbon atom on the x axis."""
    zeros = [[0.0] * 3] * 2
    places = [[0.0, 0, 0], [separation, 0, 0]]
    return dimer_graph(
        [1, 6], places, [0, 1], zeros, [[1.0, 0.5, 0, 0.2]] * 2, [0.1, 0, 0], [0.0] * 6,
        [separation, 0, 0.1, 1], dtype=torch.float64,
    )  # fmt: skip


@pytest.mark.parametrize("config", SWITCHES)
def test_the_contract(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_observable(coupling(**config), dimer())


def test_the_default_network_keeps_the_contract() -> None:
    torch.manual_seed(0)
    network = DeltaCoupling([1, 6, 16])
    assert len(network.layers) == 6
    assert str(network.irreps) == "8x0e+1x1o+1x2e"
    assert_observable(network, dimer())


def test_constants_are_exact_after_single_precision() -> None:
    network = copy.deepcopy(coupling()).float().to(torch.float32)
    assert network(dimer()).dtype == torch.float32
    assert_observable(network, dimer())


def test_the_contract_finds_a_broken_symmetry() -> None:
    class Leaning(DeltaCoupling):
        def forward(self, data: Data) -> torch.Tensor:
            return super().forward(data) + data.dipole[:, 0]

    with pytest.raises(AssertionError, match="rotation changes the result by"):
        assert_observable(Leaning([1, 6, 16], layers=1, radial=4), dimer())

    class Told(DeltaCoupling):
        def forward(self, data: Data) -> torch.Tensor:
            return super().forward(data) + (data.molecule * data.z).sum()

    with pytest.raises(AssertionError, match="exchange of the molecules changes the result"):
        assert_observable(Told([1, 6, 16], layers=1, radial=4), dimer())


def test_a_new_network_passes_its_input_on_and_corrects_nothing() -> None:
    network = coupling()
    for layer in network.layers:
        assert not layer.gate.any()
    batch = Batch.from_data_list([dimer(seed=seed) for seed in range(3)])
    corrections = torch.tensor([0.1, 0.2, 0.6])
    network.set_statistics(batch, corrections)
    assert network(batch).tolist() == [0.0] * 3
    mean = coupling(orbital_pairs=False)
    mean.set_statistics(batch, corrections)
    assert mean(batch).tolist() == pytest.approx([0.3, 0.3, 0.3])
    network.double()
    reached = []
    network.layers[-1].register_forward_hook(lambda *called: reached.append(called[1][0]))
    network(batch)
    # What the last layer is given is the embedding still.
    attributes = reached[0][: len(batch.z), : network.irreps.count("0e")]
    same = batch.z == 1
    assert attributes[same].std(0).max() > 0
    assert not reached[0][: len(batch.z), network.irreps.count("0e") :].any()


def test_the_first_step_of_learning_has_gradients() -> None:
    network = coupling()
    network(dimer()).sum().backward()
    assert network.pairs.integrals.weight.grad.abs().max() > 0
    whole = coupling(orbital_pairs=False)
    whole(dimer()).sum().backward()
    assert whole.result[-1].weight.grad.abs().max() > 0


def test_the_correction_has_the_sign_of_the_orbitals() -> None:
    """It changes with the phase of either orbital, and vanishes with the orbitals."""
    graph = dimer()
    network = shaken(coupling())
    for molecule in (0, 1):
        turned = graph.clone()
        sign = torch.where(graph.molecule == molecule, -1.0, 1.0).unsqueeze(-1)
        turned.orbital = sign * graph.orbital
        assert network(turned).item() == pytest.approx(-network(graph).item(), rel=1e-12)
    none = graph.clone()
    none.orbital = torch.zeros_like(graph.orbital)
    assert network(none).item() == 0.0


def test_terms_of_pairs_are_those_of_slater_and_koster() -> None:
    """Integrals that do not depend on the surroundings: four overlaps of s and p functions."""
    network = coupling(layers=1).double()
    values = torch.tensor([1.0, 2.0, 3.0, 5.0], dtype=torch.float64)
    with torch.no_grad():
        network.pairs.integrals.bias.copy_(values)
    graph = pair(3.0)
    graph.orbital = torch.tensor([[0.5, 0.1, 0.2, 0.3], [0.7, 0.4, -0.6, 0.8]]).double()
    (s, *p), (t, *q) = graph.orbital.tolist()
    across = sum(one * other for one, other in zip(p, q, strict=True))
    # Both orders of the pair; the direction is that of x, and turns with the order.
    terms = 2 * s * t * 1.0 + (s * q[0] - t * p[0]) * 2.0 + 2 * p[0] * q[0] * 3.0 + 2 * across * 5.0
    envelope = 1.0 - 35 / 4**4 + 84 / 4**5 - 70 / 4**6 + 20 / 4**7
    assert network(graph).item() == pytest.approx(terms * envelope, rel=3e-3)  # softened distance


def test_every_input_counts_only_where_it_is_switched_on() -> None:
    graph = dimer()
    for name, index, switch in [("dipole", 0, "field_node"), ("quadrupole", 1, "field_node"),
                                ("globals", 2, "cheap_input"),
                                ("orbital", 0, "orbital_pairs")]:  # fmt: skip
        others = {"orbital_pairs": False} if switch == "cheap_input" else {}
        other = graph.clone()
        other[name] = graph[name].clone()
        other[name][0, index] += 0.5
        torch.manual_seed(0)
        on, off = shaken(coupling(**others)), shaken(coupling(**{**others, switch: False}))
        assert abs(on(other) - on(graph)) > 1e-9, name
        assert off(other) == off(graph), name
    for name in ("populations", "molecule"):
        other = graph.clone()
        other[name] = graph[name].clone()
        other[name][0] = 1
        assert abs(on(other) - on(graph)) > 1e-9, name


def test_the_trace_of_the_quadrupole_does_not_count() -> None:
    network, graph = shaken(coupling()), dimer()
    other = graph.clone()
    other.quadrupole = graph.quadrupole + torch.tensor([1.0, 0, 1, 0, 0, 1])
    assert network(other).item() == pytest.approx(network(graph).item(), abs=1e-12)


def test_the_field_node_takes_the_quadrupole_as_harmonics_of_two_charges() -> None:
    """r r^T of a vector r, traceless, is the l = 2 harmonic of r."""
    from e3nn import o3

    torch.manual_seed(0)
    node = coupling().double().field
    r = torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64)
    x, y, z = r
    six = torch.stack([x * x, x * y, y * y, x * z, y * z, z * z])
    found = six @ node.to_spherical
    harmonic = o3.spherical_harmonics(2, r, normalize=False, normalization="norm")
    ratio = found / harmonic
    assert ratio.std().item() == pytest.approx(0.0, abs=1e-12)
    assert found.norm().item() == pytest.approx((six_traceless(r)).norm().item(), rel=1e-12)


def six_traceless(r: torch.Tensor) -> torch.Tensor:
    full = torch.outer(r, r)
    return full - torch.eye(3, dtype=r.dtype) * full.trace() / 3


@pytest.mark.parametrize("field_node", [True, False])
def test_learned_frequencies_start_as_bessel_and_learn(field_node: bool) -> None:
    torch.manual_seed(0)
    learned = shaken(coupling(learned_frequencies=True, field_node=field_node))
    frequencies = learned.edges.radial.frequencies
    assert isinstance(frequencies, torch.nn.Parameter)
    fresh = coupling(learned_frequencies=True).double().edges.radial.frequencies
    assert torch.allclose(fresh, torch.arange(1, 9).double() * torch.pi / 12.0, atol=1e-6)
    learned(dimer()).sum().backward()
    assert frequencies.grad.abs().max() > 0
    names = [name for name, _ in coupling().named_parameters()]
    assert "edges.radial.frequencies" not in names


def test_gradients_are_finite_where_directions_are_not_defined() -> None:
    network = shaken(coupling())
    for graph in (pair(0.0), pair(1e-9), pair(1.0), pair(12.0), pair(40.0)):
        assert slopes(network, graph).isfinite().all()
        assert network(graph).isfinite().all()
    alone = dimer_graph(
        [6], [[1.0, 2, 3]], [0], [[1.0] * 3], [[1.0] * 4], [1.0, 0, 0], [0.0] * 6, [0.0] * 4,
        dtype=torch.float64,
    )  # fmt: skip
    assert slopes(network, alone).isfinite().all()
    inline = dimer()
    inline.pos[:, 1:] = 0.0
    assert slopes(network, inline).isfinite().all()


@pytest.mark.parametrize("field_node", [True, False])
def test_nothing_jumps_at_the_cutoff(field_node: bool) -> None:
    network = shaken(coupling(cutoff=4.0, field_node=field_node))

    def value(separation: float) -> float:
        graph = pair(separation)
        graph.globals = torch.zeros(1, 4, dtype=torch.float64)
        return float(network(graph).detach())

    # With a field node, 8 angstrom is where the atoms are 4 from the centre.
    for place in (4.0, 8.0):
        steps = [value(place + step) for step in (-1e-4, -1e-5, 1e-5, 1e-4)]
        assert (steps[3] - steps[0]) / 20 == pytest.approx((steps[2] - steps[1]) / 2, abs=1e-10)
    assert value(4.5) == pytest.approx(value(4.5 + 1e-7), abs=1e-6)
    if not field_node:
        assert value(5.0) == value(9.0)
    assert abs(value(3.0) - value(5.0)) > 1e-6


def test_an_unknown_element_is_refused() -> None:
    with pytest.raises(ValueError, match=r"atoms of S, expected those .* knows: H, C$"):
        DeltaCoupling([1, 6], layers=1)(dimer())


@pytest.mark.parametrize("config", SWITCHES)
def test_arguments_make_the_network_again(config: dict[str, Any]) -> None:
    network = shaken(coupling(**config))
    again = DeltaCoupling(**json.loads(json.dumps(network.config))).double()
    again.load_state_dict(network.state_dict())
    assert again(dimer()).item() == network(dimer()).item()
    assert again.config == network.config


def test_statistics_are_those_of_the_training_set() -> None:
    graphs = [dimer(seed=seed) for seed in range(4)]
    batch = Batch.from_data_list(graphs)
    network = coupling().double()
    corrections = torch.tensor([0.1, -0.1, 0.3, 0.2], dtype=torch.float64)
    network.set_statistics(batch, corrections)
    state = network.state_dict()
    carbon = batch.populations[batch.z == 6]
    assert torch.allclose(state["population_mean"][1], carbon.mean(0))
    assert torch.allclose(state["population_scale"][1], carbon.std(0, correction=0))
    # There is no oxygen.
    assert state["population_scale"][2].tolist() == [1.0] * 3
    assert torch.allclose(state["globals_mean"], batch.globals.mean(0))
    assert torch.allclose(state["correction_scale"], corrections.std(correction=0))
    assert torch.allclose(state["dipole_scale"], batch.dipole.square().mean().sqrt())
    network.set_statistics(batch, torch.ones(4))
    assert float(network.state_dict()["correction_scale"]) == 1.0
    assert all(not weights.startswith("correction") for weights, _ in network.named_parameters())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": 0}, "layers is 0, expected an integer >= 1"),
        ({"features": "8x0e + 1x1e"}, r"features are '8x0e \+ 1x1e', expected irreps such as"),
        ({"features": "8x1o"}, "features are '8x1o', expected irreps"),
        ({"features": "eight"}, "features are 'eight', expected irreps"),
        ({"lmax": -1}, "lmax is -1, expected a whole number"),
        ({"cheap_input": False}, "cheap_input is False and orbital_pairs is True, but terms of"),
        ({"cutoff": 0.0}, "cutoff is 0.0, expected a positive number: angstrom"),
        ({"elements": []}, r"elements are \[\], expected atomic numbers"),
        (
            {"elements": [6, 6]},
            r"elements are \[6, 6\], expected atomic numbers, each of them once",
        ),
    ],
)
def test_other_arguments_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeltaCoupling(**{"elements": [1, 6], **config})


def test_switches_are_true_or_false() -> None:
    with pytest.raises(TypeError, match="field_node is 1, expected True or False"):
        coupling(field_node=1)


def test_a_batch_is_of_dimers_of_any_size() -> None:
    network = shaken(coupling())
    graphs = [dimer(), dimer("CH4", "H2O"), pair(3.0)]
    together = network(Batch.from_data_list(graphs))
    alone = torch.cat([network(graph) for graph in graphs])
    assert torch.allclose(together, alone, rtol=0.0, atol=1e-12)


def test_mixed_precision_ends_in_single_precision() -> None:
    network = shaken(coupling()).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(dimer())
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, network(dimer()), rtol=0.05, atol=0.05)
