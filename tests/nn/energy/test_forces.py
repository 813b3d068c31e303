"""Compiled forces."""

import pytest
import torch

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.nn.energy.forces import compiled_forces, energy_and_forces
from tests.conftest import network


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


def test_compiling_without_a_compiler_says_what_to_do(state, monkeypatch):
    net = network().double()
    graph = dense_graph(net.species_of[state.numbers], make_padding(state.batch))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler"):
        compiled_forces(net, state.positions[None], graph)
