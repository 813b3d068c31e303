"""The network of X-ray absorption spectra."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from kstep_integrators.observables.networks.graphs import Batch, structure_graph
from kstep_integrators.observables.networks.observable_network import invariants
from kstep_integrators.observables.networks.xanes import XANESNetwork
from kstep_integrators.testing import assert_observable
from tests.observables.networks.systems import (
    ELEMENTS,
    GRID,
    shaken,
    slopes,
    spectrum,
    structure,
)

SWITCHES: list[dict[str, Any]] = [
    {},
    {"pooling": "absorber"},
    {"pooling": "mean"},
    {"norms": False},
    {"scalar_only": True},
    {"largest_shift": 0.0, "widths": [0.5]},
]


@pytest.mark.parametrize("config", SWITCHES)
def test_the_contract(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_observable(spectrum(**config), structure())


def test_the_default_network_keeps_the_contract() -> None:
    torch.manual_seed(0)
    assert_observable(XANESNetwork(ELEMENTS, {6: 285.0, 8: 535.0}, GRID), structure())


@pytest.mark.parametrize("config", SWITCHES)
def test_spectra_are_never_negative(config: dict[str, Any]) -> None:
    for seed in range(3):
        network = shaken(spectrum(**config), seed)
        with torch.no_grad():
            network.result[-1].weight.mul_(30.0)
        found = network(structure())
        assert found.shape == (2, len(GRID))
        assert (found >= 0.0).all()
        assert found.max() > 0.0


def test_a_new_network_returns_the_mean_spectrum_of_each_element() -> None:
    network = spectrum().double()
    grid = torch.tensor(GRID, dtype=torch.float64)
    peak = torch.exp(-0.5 * ((grid - 2.0) / 1.0) ** 2)
    edge = 0.5 + torch.atan(grid - 4.0) / torch.pi
    graph = structure(molecule("CH3CHO"), (0, 1, 3))
    assert graph.z[[0, 1, 3]].tolist() == [8, 6, 6]
    network.set_statistics(graph, torch.stack([edge, peak, 3.0 * peak]))
    found = network(graph)
    assert torch.allclose(found[1], found[2])
    assert (found[1] - 2.0 * peak).abs().max() < 0.1
    # Away from the ends, where the Gaussians stop.
    assert (found[0] - edge)[5:-5].abs().max() < 0.1
    assert network.offsets.isfinite().all()


def test_gaussians_move_no_further_than_allowed() -> None:
    network = shaken(spectrum(largest_shift=1.5)).double()
    graph = structure()
    shifts = slice(network.basis.size, None)
    with torch.no_grad():
        network.result[-1].weight[shifts] = 0.0
        network.result[-1].bias[shifts] = 0.0
        before = network(graph)
        network.result[-1].bias[shifts] = 1e3
        after = network(graph)
    # The grid is of 0.25 eV, 6 of them 1.5 eV.
    assert torch.allclose(after[:, 6:], before[:, :-6], rtol=1e-9, atol=1e-12)


def test_each_gaussian_moves_by_itself() -> None:
    network = spectrum(widths=[0.5], largest_shift=1.5).double()
    size = network.basis.size
    with torch.no_grad():
        network.offsets.fill_(-40.0)  # two Gaussians alone, the lower one higher than the other
        network.offsets[:, 4], network.offsets[:, 10] = 2.0, 0.0
        before = network(structure())
        network.result[-1].bias[size + 4] = 1e3
        after = network(structure())
    grid = network.basis.grid
    peaks = [float(grid[each[0].argmax()]) for each in (before, after)]
    assert peaks == [-1.0, 0.5]
    beyond = grid > 2.5  # the other one is at 2 eV
    assert torch.allclose(after[:, beyond], before[:, beyond], atol=1e-3)
    assert before[0, beyond].max() > 0.1


def test_what_is_read_has_unit_spread_over_the_training_set() -> None:
    torch.manual_seed(0)
    network = spectrum().double()
    batch = Batch.from_data_list(
        [
            structure_graph(atoms.numbers, atoms.positions, [0, 1], dtype=torch.float64)
            for atoms in (molecule("CH3CHO"), molecule("CH3CH2OH"), molecule("CH3OCH3"))
        ]
    )
    rows = torch.ones(6, len(GRID), dtype=torch.float64)
    network.set_statistics(batch, rows)
    with torch.no_grad():
        read = (network._read(batch) - network.centre) / network.spread
    assert read.mean(0).abs().max() < 1e-5
    assert float(read.std(0, correction=0).max()) == pytest.approx(1.0, abs=1e-5)
    network.set_statistics(structure(absorbers=(0,)), rows[:1])  # one spectrum has no spread
    assert network.spread.tolist() == [1.0] * len(network.spread)


def test_energies_are_counted_from_the_edge_of_the_element() -> None:
    network = spectrum()
    assert network.energies(8).tolist() == pytest.approx([energy + 535.0 for energy in GRID])
    with pytest.raises(ValueError, match=r"absorbers are atoms of S, .* has spectra of: C, O$"):
        network.energies(16)


def test_absorbers_of_one_structure_have_spectra_of_their_own() -> None:
    network = shaken(spectrum())
    both = network(structure(absorbers=(0, 1)))
    for index, absorber in enumerate((0, 1)):
        alone = network(structure(absorbers=(absorber,)))
        assert torch.allclose(both[index], alone[0], rtol=0.0, atol=1e-12)
    assert not torch.allclose(both[0], both[1])


def test_atoms_of_other_elements_are_refused() -> None:
    with pytest.raises(ValueError, match="absorbers are atoms of H, expected those of the elem"):
        spectrum()(structure(absorbers=(4,)))
    with pytest.raises(ValueError, match="structure has atoms of Ne, expected"):
        spectrum()(structure(Atoms("CNe", [[0, 0, 0], [0, 0, 2]]), (0,)))


def test_switches_leave_out_what_they_name() -> None:
    full, scalars = spectrum(), spectrum(norms=False)
    size = spectrum(scalar_only=True)
    assert full.result[0].in_features == 8 + 2 * 14
    assert scalars.result[0].in_features == 8 + 2 * 8
    assert size.irreps.lmax == 0
    assert size.edges.harmonics.lmax == 0
    names = [name for name, _ in spectrum(pooling="absorber").named_parameters()]
    assert not any(name.startswith("attention") for name in names)


def test_attention_sees_atoms_that_the_layers_do_not() -> None:
    far = structure(Atoms("CO", [[0, 0, 0], [0, 0, 6.0]]), (0,))
    farther = structure(Atoms("CO", [[0, 0, 0], [0, 0, 6.5]]), (0,))
    beyond = structure(Atoms("CO", [[0, 0, 0], [0, 0, 9.0]]), (0,))
    alone = structure(Atoms("C"), (0,))
    network = shaken(spectrum())
    assert (network(far) - network(farther)).abs().max() > 1e-6
    assert torch.equal(network(beyond), network(alone))
    network = shaken(spectrum(pooling="absorber"))
    assert torch.equal(network(far), network(farther))


@pytest.mark.parametrize("pooling", ["attention", "absorber"])
def test_nothing_jumps_at_cutoff_and_reach(pooling: str) -> None:
    network = shaken(spectrum(pooling=pooling))
    for place in (5.0, 8.0):
        steps = [
            network(structure(Atoms("CO", [[0, 0, 0], [0, 0, place + step]]), (0,)))
            for step in (-1e-4, -1e-5, 1e-5, 1e-4)
        ]
        assert torch.allclose((steps[3] - steps[0]) / 20, (steps[2] - steps[1]) / 2, atol=1e-10)


@pytest.mark.parametrize("config", SWITCHES)
def test_gradients_are_finite_where_directions_are_not_defined(config: dict[str, Any]) -> None:
    network = shaken(spectrum(**config))
    for separation in (0.0, 1e-9, 1.2, 5.0, 8.0, 40.0):
        graph = structure(Atoms("CO", [[0, 0, 0], [0, 0, separation]]), (0, 1))
        assert slopes(network, graph).isfinite().all()
    lines = Atoms("OCOH", [[0, 0, -1.2], [0, 0, 0], [0, 0, 1.2], [0, 0, 2.2]])
    assert slopes(network, structure(lines, (1,))).isfinite().all()
    assert slopes(network, structure(Atoms("C"), (0,))).isfinite().all()


def test_norms_have_a_gradient_at_zero() -> None:
    from e3nn import o3

    features = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    found = invariants(features, o3.Irreps("1x0e + 1x1o"))
    assert not found.any()
    found.sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[1.0, 0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("config", SWITCHES)
def test_arguments_make_the_network_again(config: dict[str, Any]) -> None:
    network = shaken(spectrum(**config))
    again = XANESNetwork(**json.loads(json.dumps(network.config))).double()
    again.load_state_dict(network.state_dict())
    assert again.config == network.config
    assert torch.equal(again(structure()), network(structure()))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max', expected one of attention, absorber, mean"),
        ({"heads": 3}, "heads is 3, expected a divisor of the number of scalars .*, 8"),
        ({"largest_shift": -1.0}, "largest_shift is -1.0, expected eV"),
        ({"widths": []}, "widths are empty"),
        ({"widths": [0.0]}, "an entry of widths is 0.0, expected a positive number"),
        ({"grid": [0.0]}, r"grid has 1 energies from \[0.0\] to \[0.0\], expected ascending"),
        ({"grid": [0.0, 2.0, 1.0]}, "grid has 3 energies"),
        ({"edges": {}}, r"edges are of the elements \[\], expected one at least"),
        ({"edges": {7: 400.0}}, r"edges are of the elements \[7\], expected .* knows, \[1, 6, 8"),
    ],
)
def test_other_arguments_are_refused(config: dict[str, Any], message: str) -> None:
    sizes = {"elements": ELEMENTS, "edges": {6: 285.0}, "grid": GRID, "features": "8x0e + 4x1o"}
    with pytest.raises(ValueError, match=message):
        XANESNetwork(**{**sizes, **config})


def test_mixed_precision_ends_in_single_precision() -> None:
    network = shaken(spectrum()).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(structure())
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, network(structure()), rtol=0.05, atol=0.05)
