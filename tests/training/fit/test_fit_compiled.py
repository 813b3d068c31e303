"""The compiled forces of a fit: those of PyTorch's own, with their gradients."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kstep_integrators.nn.energy.compiled_forces import CompiledForces, have_compiler
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.batches import Batch
from kstep_training.dataset.frames import FrameDataset
from kstep_training.fit.lightning_module import EnergyFit
from tests.training.fits import ELEMENTS, FIT, PADDING


@pytest.fixture
def water(spring_data: Path) -> Batch:
    """Four frames, shifts subtracted."""
    return FrameDataset(spring_data, "train", PADDING)[range(4)]


@pytest.mark.slow
@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_compiled_and_eager_fits_agree(water: Batch) -> None:
    """Loss, and its gradient with respect to every weight, which is what a fit goes by."""
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, channels=8, layers=1, radial=8).float()
    losses, gradients = [], []
    for compiled in (False, True):
        module = EnergyFit(network, dataclasses.replace(FIT, compile=compiled), 1)
        module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
        network.zero_grad()
        loss = module.training_step(water, 0)
        loss.backward()
        losses.append(loss.item())
        gradients.append(
            torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        )
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("backbone", ["painn", "egnn"])
def test_the_traced_force_has_the_whole_gradient(
    backbone: str, water: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph that would be compiled, run without compiling it, in float64."""
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, backbone, channels=8, layers=2, radial=8).double()
    x, graph = water.positions.double(), water.graph
    traced = CompiledForces(network, trainable=True)
    weights = dict(network.named_parameters())

    def gradients(outcome: tuple[Tensor, Tensor]) -> list[Tensor]:
        energy, forces = outcome
        loss = energy.square().mean() + forces.square().mean()
        return list(torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))

    per_atom, forces = energy_and_forces(network, None, x, graph, True)
    eager = gradients((per_atom.sum(-1), forces))
    torch.testing.assert_close(gradients(traced(weights, x, graph)), eager, rtol=1e-12, atol=1e-14)
