"""Forces through torch.compile."""

import logging
import math
from dataclasses import replace

import pytest
import torch

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.common.neighbor_lists import Box, build_skin_list, dense_graph
from kstep_integrators.nn.energy.compiled_forces import CompiledForces, have_compiler
from kstep_integrators.nn.energy.forces import energy_and_forces
from tests.conftest import network


@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_the_traced_force_is_the_eager_one(state, caplog, monkeypatch):
    """Traced once, for networks of other weights too; run without the minute of a compiler."""
    asked = []
    monkeypatch.setattr(torch, "compile", lambda traced, **how: asked.append(how) or traced)
    caplog.set_level(logging.INFO, "kstep_integrators.notices")
    nets = [network("egnn", seed, layers=1, radial=4).double() for seed in (0, 1)]
    graph = dense_graph(nets[0].species_of[state.numbers], make_padding(state.batch))
    shift = torch.sin(torch.arange(27.0)).reshape(1, 9, 3).double()
    compiled = CompiledForces(nets[0])
    assert not caplog.messages
    for net, force in ((nets[0], compiled), (nets[1], compiled.of(nets[1]))):
        for x in (state.positions[None], state.positions[None] + 0.1 * shift):
            energy, forces = force(None, x, graph)
            expected, eager = energy_and_forces(net, None, x, graph)
            assert eager.abs().max() > 0.1
            torch.testing.assert_close(forces, eager, atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(energy, expected.double().sum(-1), atol=1e-9, rtol=1e-9)
    assert asked == [{"fullgraph": True, "dynamic": False, "options": {"cpp_wrapper": True}}]
    what = "compiling the force of 1 x 9 atoms (torch.compile)"
    assert caplog.messages[0] == f"{what} ..."
    assert math.isfinite(float(caplog.messages[1].removeprefix(f"{what}: ").removesuffix(" s")))
    assert len(caplog.messages) == 2


@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_the_traced_force_is_the_eager_one_in_a_cell(state, monkeypatch):
    """Images are arguments of it too."""
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)
    net = network("egnn", layers=1, radial=4).double()
    species = net.species_of[state.numbers]
    box = Box(6.0 * torch.eye(3, dtype=torch.float64)[None].expand(1, 3, 3), (True, True, False))
    of_one = torch.zeros(9, dtype=torch.int64)
    graph = build_skin_list(state.positions, species, of_one, net.cutoff, 0.0, box).graph
    graph = Graph(*(part[None] for part in vars(graph).values()))
    _, forces = CompiledForces(net)(None, state.positions[None], graph)
    _, eager = energy_and_forces(net, None, state.positions[None], graph)
    torch.testing.assert_close(forces, eager, atol=1e-9, rtol=1e-9)
    _, alone = energy_and_forces(net, None, state.positions[None], replace(graph, offsets=None))
    assert (alone - eager).abs().max() > 1e-3


def test_compiling_without_a_compiler_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler"):
        CompiledForces(network())
