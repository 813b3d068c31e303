"""Dimers and structures for the tests of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule as built
from torch import nn

from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.graphs import Data, dimer_graph, structure_graph
from kstep_integrators.observables.networks.xanes import XANESNetwork

ELEMENTS = [1, 6, 8, 16]
GRID = np.linspace(-3.0, 12.0, 61).tolist()


def dimer(one: str = "C2H4", other: str = "C4H4S", seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    first, second = built(one), built(other)
    second.positions += [0.4, 0.3, 3.8]
    atoms = first + second
    atoms.positions += rng.normal(0.0, 0.1, atoms.positions.shape)
    second_moments = rng.normal(size=(3, 3))
    second_moments += second_moments.T
    second_moments -= np.trace(second_moments) / 3 * np.eye(3)
    quadrupole = second_moments[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    return dimer_graph(
        atoms.numbers,
        atoms.positions,
        [0] * len(first) + [1] * len(second),
        rng.random((len(atoms), 3)),
        rng.normal(size=(len(atoms), 4)),
        rng.normal(size=3),
        quadrupole,
        rng.random(4),
        dtype=torch.float64,
    )


def structure(atoms: Atoms | None = None, absorbers: tuple[int, ...] = (0, 1)) -> Data:
    atoms = built("CH3CHO") if atoms is None else atoms
    return structure_graph(atoms.numbers, atoms.positions, absorbers, dtype=torch.float64)


def coupling(**config: Any) -> DeltaCoupling:
    return DeltaCoupling(ELEMENTS, **{"layers": 2, "radial": 8, "hidden": 16, **config})


def spectrum(**config: Any) -> XANESNetwork:
    edges = {6: 285.0, 8: 535.0}
    sizes = {"features": "8x0e + 4x1o + 2x2e", "layers": 2, "radial": 8, "hidden": 16}
    return XANESNetwork(ELEMENTS, edges, GRID, **{**sizes, **config})


def shaken(network: nn.Module, seed: int = 0) -> Any:
    """The network in double precision with other weights: gates open, last layer not zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.double().parameters():
            weights.add_(0.2 * torch.randn(weights.shape, generator=random, dtype=torch.float64))
    return network


def slopes(network: nn.Module, graph: Data) -> torch.Tensor:
    """Gradient of the results' squares with respect to the positions."""
    positions = graph.pos.clone().requires_grad_()
    moved = graph.clone()
    moved.pos = positions
    (slope,) = torch.autograd.grad(network(moved).square().sum(), positions)
    return slope
