"""Energy and forces of an energy network, eager or compiled.

A compiled force is traced once, differentiation included, for fixed shapes; on a CPU this is
several times faster than eager mode for small molecules, where the cost of an operation is
mostly the cost of calling it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = [
    "CompiledForces",
    "ForceFunction",
    "compiled_forces",
    "energy_and_forces",
    "have_compiler",
]


class CompiledForces(Protocol):
    """A compiled force, for networks that differ in their weights alone."""

    def __call__(
        self, parameters: Mapping[str, Tensor] | None, positions: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor]:
        """Energy per molecule without shifts, and forces."""
        ...

    def of(self, network: EnergyNetwork) -> CompiledForces:
        """The same code with the weights of another network of the same sizes."""
        ...


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


def have_compiler() -> bool:
    """Look for a C++ compiler that ``torch.compile`` can use."""
    return any(shutil.which(name) for name in ("g++", "c++", "clang++"))


def compiled_forces(
    network: EnergyNetwork, positions: Tensor, graph: Graph, trainable: bool = False
) -> CompiledForces:
    """Trace and compile :func:`energy_and_forces` for the shapes of one example.

    Parameters
    ----------
    network : EnergyNetwork
    positions : (..., N, 3) angstrom
        Example; later calls must have its shape, dtype and device.
    graph : Graph
        Example of the same shapes.
    trainable : bool
        Whether gradients with respect to the weights are wanted.

    Returns
    -------
    callable (parameters, positions, graph) -> (energy, forces)
        Energy of each molecule without shifts; ``parameters`` None takes the network's weights as
        they were when this function was called. Compiled lazily at its first call, which takes
        seconds to a minute.

    Raises
    ------
    RuntimeError
        If no C++ compiler is found.
    """
    if positions.device.type == "cpu" and not have_compiler():
        raise RuntimeError(
            "compiling the force on a CPU needs a C++ compiler (g++ or clang++), none was found; "
            "install one or pass compile=False"
        )
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [name for name, _ in network.named_parameters()]
    shapes = [tensor.shape for _, tensor in network.named_parameters()]

    def arguments(parameters: Mapping[str, Tensor]) -> list[Tensor]:
        tensors = [parameters[name] for name in names]
        # One input in place of forty: every call checks each of its inputs.
        return tensors if trainable else [torch.cat([t.detach().reshape(-1) for t in tensors])]

    def unpacked(weights: list[Tensor]) -> dict[str, Tensor]:
        if not trainable:
            pieces = weights[0].split([shape.numel() for shape in shapes])
            weights = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return dict(zip(names, weights, strict=True))

    def flat(weights: list[Tensor], x: Tensor, *graph: Tensor) -> tuple[Tensor, Tensor]:
        energy, forces = energy_and_forces(network, unpacked(weights), x, Graph(*graph), trainable)
        return energy.to(x.dtype).sum(-1), forces

    def parts(graph: Graph) -> list[Tensor]:
        whole = (graph.species, graph.atom_mask, graph.pair_mask, graph.index)
        return [tensor for tensor in whole if tensor is not None]

    own = arguments(dict(network.named_parameters()))
    example = [tensor.detach().requires_grad_(trainable) for tensor in own]
    traced = make_fx(flat)(example, positions, *parts(graph))
    if trainable:
        # Autograd saves the results of sqrt, exp and tanh for the force as detached copies and ties
        # them to the weights again out of the tracer's sight: left in, they would cut terms out of
        # the gradient of the forces.
        for node in list(traced.graph.nodes):
            if node.target is torch.ops.aten.detach.default:
                node.replace_all_uses_with(node.args[0])
                traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    # On a CPU the wrapper that calls the fused kernels in turn costs more than they do: have it in
    # C++ too. Training needs the Python wrapper, which can be split into forward and backward.
    in_cpp = positions.device.type == "cpu" and not trainable
    compiled: Any = torch.compile(
        traced, fullgraph=True, dynamic=False, options={"cpp_wrapper": True} if in_cpp else None
    )

    class WithWeights:
        def __init__(self, weights: list[Tensor]) -> None:
            self.weights = weights

        def __call__(
            self, parameters: Mapping[str, Tensor] | None, positions: Tensor, graph: Graph
        ) -> tuple[Tensor, Tensor]:
            given = self.weights if parameters is None else arguments(parameters)
            energy, forces = compiled(given, positions, *parts(graph))
            return energy, forces

        def of(self, network: EnergyNetwork) -> CompiledForces:
            return WithWeights(arguments(dict(network.named_parameters())))

    return WithWeights(own)
