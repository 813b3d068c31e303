"""Energies and forces of all functions of a linear readout."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.learning import force_features as module
from kstep_integrators.learning.force_features import force_features, native_force_features
from kstep_integrators.mechanics.strain import virial
from kstep_integrators.nn.native.library import native_library
from kstep_integrators.nn.native.network import NativeNetwork
from tests.conftest import LINEAR, hot, network, potential


@pytest.fixture(params=sorted(LINEAR))
def kind(request):
    return request.param


def features_of(kind, state, dense=True, forces=True):
    net = network(kind).double()
    chosen = torch.arange(state.positions.numel() if forces else 0)
    return net, force_features(net, state, net.species_of[state.numbers], dense, chosen)


@pytest.mark.parametrize("dense", [True, False])
def test_with_the_weights_they_are_energy_and_forces_of_the_readout(kind, dense, state):
    """By automatic differentiation of the network itself, with its readout and without."""
    net, found = features_of(kind, state, dense)
    whole, _ = potential(kind).bind(state)(state.positions, None)
    without = potential(kind).with_weights(torch.zeros_like(net.linear.weight))
    rest, _ = without.bind(state)(state.positions, None)
    weights = net.linear.weight
    energy = (found.energies * weights).sum()
    torch.testing.assert_close(energy, (whole.energy - rest.energy)[0], rtol=0, atol=1e-9)
    forces = (found.forces * weights).sum((1, 2)).reshape(-1, 3)
    wanted = whole.require_forces() - rest.require_forces()
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(forces, wanted, rtol=0, atol=1e-9)


def test_forces_are_minus_the_slopes_of_the_energies(kind, state):
    net, found = features_of(kind, state)
    species = net.species_of[state.numbers]
    step = 2e-4
    for coordinate in (0, 13, 26):
        along = torch.zeros(27, dtype=torch.float64)
        along[coordinate] = step

        def energies(factor, along=along):
            moved = state.replace(positions=state.positions + factor * along.reshape(9, 3))
            none = torch.zeros(0, dtype=torch.int64)
            return force_features(net, moved, species, True, none).energies

        # of fourth order
        slope = (8 * (energies(1) - energies(-1)) - (energies(2) - energies(-2))) / (12 * step)
        torch.testing.assert_close(found.forces[coordinate], -slope, rtol=0, atol=1e-9)


def test_all_pairs_and_neighbour_lists_give_the_same(kind):
    state = state_from_atoms(hot("toluene"))
    _, dense = features_of(kind, state, True)
    _, rows = features_of(kind, state, False)
    torch.testing.assert_close(rows.energies, dense.energies, rtol=0, atol=1e-10)
    torch.testing.assert_close(rows.forces, dense.forces, rtol=0, atol=1e-10)


def test_coordinates_in_small_batches_give_the_same(kind, state, monkeypatch):
    _, together = features_of(kind, state)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 1)
    _, apart = features_of(kind, state)
    torch.testing.assert_close(apart.forces, together.forces, rtol=0, atol=1e-12)


def test_elements_that_do_not_occur_have_none(kind, state):
    _, found = features_of(kind, state)  # ethanol has no nitrogen
    assert not found.energies[2].any()
    assert not found.forces[:, 2].any()


def test_energies_alone(kind, state):
    _, found = features_of(kind, state, forces=False)
    assert found.forces.shape == (0, *found.energies.shape)
    assert len(found.virials) == 0
    torch.testing.assert_close(found.energies, features_of(kind, state)[1].energies)


def test_some_coordinates_are_those_of_all(kind, state):
    net, found = features_of(kind, state)
    chosen = torch.tensor([20, 3, 4])
    some = force_features(net, state, net.species_of[state.numbers], True, chosen)
    torch.testing.assert_close(some.forces, found.forces[chosen], rtol=0, atol=1e-12)


PERIODIC = {
    "crystal": (((3.1, 0, 0), (0.9, 3.6, 0), (-0.7, 0.8, 4.2)), (True, True, True)),
    "slab": (((4.1, 0, 0), (3.0, 3.6, 0), (0, 0, 9.0)), (True, True, False)),
}


def in_a_cell(name):
    cell, pbc = PERIODIC[name]
    positions = [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [0.2, 0.3, 2.2], [1.3, 1.5, 2.3]]
    return state_from_atoms(Atoms("OHHCN", positions, cell=cell, pbc=pbc))


@pytest.mark.parametrize("name", PERIODIC)
def test_in_cells_they_are_energy_forces_and_virial_of_the_readout(kind, name):
    state, net = in_a_cell(name), network(kind).double()
    model = potential(kind).in_cells()
    none = model.with_weights(torch.zeros_like(net.linear.weight))
    species, chosen = net.species_of[state.numbers], torch.arange(15)
    found = force_features(net, state, species, False, chosen, strains=torch.arange(6))

    def learned(there):
        energies = [one.bind(there)(there.positions, None)[0] for one in (model, none)]
        return energies[0].energy[0] - energies[1].energy[0], energies

    energy, (whole, rest) = learned(state)
    weights = net.linear.weight
    torch.testing.assert_close((found.energies * weights).sum(), energy, rtol=0, atol=1e-9)
    forces = (found.forces * weights).sum((1, 2)).reshape(-1, 3)
    wanted = whole.require_forces() - rest.require_forces()
    torch.testing.assert_close(forces, wanted, rtol=0, atol=1e-9)
    virial_of_weights = (found.virials * weights).sum((1, 2))
    differences = virial(state, lambda there: float(learned(there)[0]))
    assert float(differences.abs().max()) > 0.1
    torch.testing.assert_close(virial_of_weights, differences, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", PERIODIC)
def test_the_kernel_has_the_same_in_cells(name):
    state, net = in_a_cell(name), network("linear").double()
    species, chosen = net.species_of[state.numbers], torch.tensor([0, 4, 14])
    native = NativeNetwork(net, torch.float64, native_library())
    one = force_features(net, state, species, False, chosen, strains=torch.arange(6))
    other = native_force_features(native, state, species, chosen, strains=torch.arange(6))
    torch.testing.assert_close(other.energies, one.energies, rtol=0, atol=1e-10)
    torch.testing.assert_close(other.forces, one.forces, rtol=0, atol=1e-10)
    torch.testing.assert_close(other.virials, one.virials, rtol=0, atol=1e-6)


def test_a_network_without_a_linear_readout_is_refused(state):
    net = network().double()
    with pytest.raises(ValueError, match=r"no linear readout to learn; make one with .*linear="):
        force_features(net, state, net.species_of[state.numbers], True, torch.arange(27))
    with pytest.raises(ValueError, match=r"no linear readout: make it with linear="):
        net.with_weights(torch.zeros(4, 48))
