"""Energy and forces of an energy network by automatic differentiation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from kstep_integrators.mechanics.strain import STRAINS
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["ForceFunction", "energy_and_forces", "strain_derivatives"]


ForceFunction = Callable[[Mapping[str, Tensor] | None, Tensor, Graph], tuple[Tensor, Tensor]]
"""(parameters, positions, graph) -> (energy per molecule without shifts, forces)."""


class _Energy(torch.nn.Module):
    """Module whose forward method is the energy, for ``functional_call``."""

    def __init__(self, network: EnergyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, positions: Tensor, graph: Graph) -> Tensor:
        return self.network.interaction_energy(positions, graph)


def energy_and_forces(
    network: EnergyNetwork,
    parameters: Mapping[str, Tensor] | None,
    positions: Tensor,
    graph: Graph,
    differentiable: bool = False,
) -> tuple[Tensor, Tensor]:
    """Energies and forces by automatic differentiation.

    Parameters
    ----------
    network : EnergyNetwork
    parameters : mapping of str to Tensor or None
        Weights by name in place of the network's own; None uses its own.
    positions : (..., N, 3) angstrom
    graph : Graph
    differentiable : bool
        Whether the result can be differentiated again, as training needs.

    Returns
    -------
    energy : (..., N) eV
        Per atom, element shifts not included.
    forces : (..., N, 3) eV/angstrom
        In the precision of ``positions``.
    """
    with torch.enable_grad():
        leaf = positions.detach().requires_grad_(True)
        if parameters is None:
            energy = network.interaction_energy(leaf, graph)
        else:
            named = {f"network.{name}": tensor for name, tensor in parameters.items()}
            energy = functional_call(_Energy(network), named, (leaf, graph))
        (gradient,) = torch.autograd.grad(energy.sum(), leaf, create_graph=differentiable)
    return (energy if differentiable else energy.detach()), -gradient


def strain_derivatives(network: EnergyNetwork, positions: Tensor, graph: Graph) -> Tensor:
    """Derivatives of the energy of one molecule by the strain of its cell.

    Parameters
    ----------
    network : EnergyNetwork
    positions : (N, 3) angstrom
    graph : Graph
        A list of neighbours, with the offsets of images in a cell.

    Returns
    -------
    (6,) float64, eV
        Stress times volume, in the order xx, yy, zz, yz, xz, xy.
    """
    with torch.enable_grad():
        strain = torch.zeros(3, 3, dtype=positions.dtype, device=positions.device)
        strain.requires_grad_(True)
        x = positions.detach()
        offsets = None if graph.offsets is None else graph.offsets + graph.offsets @ strain
        there = dataclasses.replace(graph, offsets=offsets)
        energy = network.interaction_energy(x + x @ strain, there)
        (slope,) = torch.autograd.grad(energy.sum(), strain)
    return torch.einsum("iab,ab->i", STRAINS, slope.to("cpu", torch.float64))
