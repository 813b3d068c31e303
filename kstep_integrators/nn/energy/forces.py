"""Energy and forces of an energy network by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["ForceFunction", "energy_and_forces"]


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
