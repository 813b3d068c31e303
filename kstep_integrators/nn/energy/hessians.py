"""Products of vectors with Hessians of an energy network, step by step or traced."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vmap

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.notices import taking_long

__all__ = ["TracedHessian", "hessian_products"]

PAIRS_AT_ONCE = 1_200
"""Pairs of atoms that one batched pass of :func:`hessian_products` treats on a CPU, where what fits
its caches is fastest."""

PAIRS_AT_ONCE_ON_DEVICE = 200_000
"""The same on a GPU, where the memory of the passes is the limit."""

ATOMS_AT_ONCE = 10_000
"""Atoms in a pass of a backbone that forms no pairs for each vector, but prepares its tables anew
in each pass."""


def hessian_products(
    network: EnergyNetwork, positions: Tensor, graph: Graph
) -> Callable[[Tensor], Tensor]:
    """Make a function that multiplies vectors by the Hessian of the energy at one geometry.

    The gradient is computed once and its graph is kept; every call then is a backward pass through
    it, batched over the vectors.

    Parameters
    ----------
    network : EnergyNetwork
    positions : (..., N, 3) angstrom
    graph : Graph

    Returns
    -------
    callable (n, ..., N, 3) -> (n, ..., N, 3)
        angstrom to eV/angstrom, in the precision of ``positions``.
    """
    with torch.enable_grad():
        leaf = positions.detach().requires_grad_(True)
        energy = network.interaction_energy(leaf, graph, fixed=True)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf, create_graph=True)
    if network.lean_backbone(graph) is not None:
        at_once = max(1, ATOMS_AT_ONCE // graph.atom_mask.numel())
    else:
        pairs = PAIRS_AT_ONCE if positions.device.type == "cpu" else PAIRS_AT_ONCE_ON_DEVICE
        at_once = max(1, pairs // graph.pair_mask.numel())

    def product(vector: Tensor) -> Tensor:
        # The Hessian is symmetric: vector times matrix is matrix times vector.
        return torch.autograd.grad(gradient, leaf, vector, retain_graph=True)[0]

    def products(vectors: Tensor) -> Tensor:
        return torch.cat([vmap(product)(some) for some in vectors.split(at_once)])

    return products


class TracedHessian:
    """:func:`hessian_products` recorded as a list of operations, for fixed shapes.

    What automatic differentiation and batching cost is paid once, in seconds, for each number of
    vectors. The list is not compiled further: of its thousands of operations a compiler makes
    minutes of work.

    Parameters
    ----------
    network : EnergyNetwork
        Its weights are taken as they are when vectors are first given.
    """

    def __init__(self, network: EnergyNetwork) -> None:
        self.network = network
        self.traced: dict[torch.Size, Callable[..., Tensor]] = {}

    def __call__(self, positions: Tensor, graph: Graph, vectors: Tensor) -> Tensor:
        """Products of vectors (n, B, N, 3) and Hessians of molecules (B, N, 3), dense path only."""
        arguments = (positions, graph.species, graph.atom_mask, graph.pair_mask, vectors)
        if vectors.shape not in self.traced:
            molecules, atoms = positions.shape[:2]
            with taking_long(f"recording Hessians of {molecules} x {atoms} atoms"):
                self.traced[vectors.shape] = self._trace(*arguments)
        with torch.no_grad():
            return self.traced[vectors.shape](*arguments)

    def _trace(self, *arguments: Tensor) -> Callable[..., Tensor]:
        from torch.fx.experimental.proxy_tensor import make_fx

        def flat(
            positions: Tensor, species: Tensor, atoms: Tensor, pairs: Tensor, vectors: Tensor
        ) -> Tensor:
            return hessian_products(self.network, positions, Graph(species, atoms, pairs))(vectors)

        traced = make_fx(flat)(*arguments)
        # Both derivatives are part of the record, so these copies have no further use.
        for node in list(traced.graph.nodes):
            if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
                node.replace_all_uses_with(node.args[0])
                traced.graph.erase_node(node)
        traced.graph.eliminate_dead_code()
        traced.recompile()
        return traced
