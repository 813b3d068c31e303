"""Tensor-product backbone: convolutions with spherical harmonics up to l = 2, by e3nn.

Batzner et al., "E(3)-equivariant graph neural networks for data-efficient and accurate interatomic
potentials" (NequIP, 2022), doi:10.1038/s41467-022-29939-5. Features of natural parity only. This
module imports e3nn (doi:10.48550/arXiv.2207.09453), and no other does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import e3nn
import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.graph import Graph, neighbor_values
from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff
from kstep_integrators.nn.increments.layers import Edges, tempered

__all__ = ["PhaseTensorProduct", "TensorProduct"]

HARMONICS = o3.Irreps("0e + 1o + 2e")


@contextmanager
def _exact_constants() -> Iterator[None]:
    """Have e3nn make its coupling constants in float64, and its code without TorchScript.

    Both are settings of a process, put back at the end. Constants in single precision would limit
    equivariance in double precision to theirs.
    """
    dtype, mode = torch.get_default_dtype(), e3nn.get_optimization_defaults()["jit_mode"]
    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(jit_mode=mode)


class _Convolution(nn.Module):
    """Neighbours' features times harmonics, filtered by distance, summed and gated."""

    def __init__(self, given: o3.Irreps, channels: int, radial: int) -> None:
        super().__init__()
        scalars, gated = _irreps(channels)
        gates = o3.Irreps([(gated.num_irreps, "0e")])
        self.gate = Gate(scalars, [functional.silu], gates, [torch.sigmoid], gated)
        paths: list[tuple[int, int, int, str, bool]] = []
        products: list[tuple[int, o3.Irrep]] = []
        for i, (count, left) in enumerate(given):
            for j, (_, right) in enumerate(HARMONICS):
                for out in left * right:
                    if out in HARMONICS:
                        paths.append((i, j, len(products), "uvu", True))
                        products.append((count, out))
        self.product = o3.TensorProduct(
            given, HARMONICS, o3.Irreps(products), paths, shared_weights=False
        )
        self.sent = o3.Linear(given, given)
        self.hidden = nn.Linear(radial, channels)
        self.weights = nn.Linear(channels, self.product.weight_numel)
        self.gathered = o3.Linear(self.product.irreps_out, self.gate.irreps_in)
        self.kept = o3.Linear(given, self.gate.irreps_in)

    def forward(
        self, h: Tensor, harmonics: Tensor, basis: Tensor, cut: Tensor, index: Tensor | None
    ) -> Tensor:
        sent = neighbor_values(self.sent(h), index)
        sent = sent.expand(*harmonics.shape[:-1], sent.shape[-1])
        weights = self.weights(functional.silu(self.hidden(basis))) * cut
        messages = self.product(sent, harmonics, weights).sum(-2)
        # A quarter: sums over some sixteen neighbours stay of order one.
        gated: Tensor = self.gate(self.kept(h) + 0.25 * self.gathered(messages))
        return gated


def _harmonics(unit: Tensor) -> Tensor:
    """Spherical harmonics (..., 9) of directions (..., 3)."""
    found: Tensor = o3.spherical_harmonics(
        HARMONICS, unit, normalize=False, normalization="component"
    )
    return found


def _finish(module: nn.Module, dtype: torch.dtype) -> None:
    """Weights in the default precision; constants belong to the code and not to a model file."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    for part in module.modules():
        for name, constant in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, constant, persistent=False)


def _irreps(channels: int) -> tuple[o3.Irreps, o3.Irreps]:
    """Scalars, and vectors and tensors of which there are half and a quarter as many."""
    halves = [(max(1, channels // 2), "1o"), (max(1, channels // 4), "2e")]
    return o3.Irreps([(channels, "0e")]), o3.Irreps(halves)


class TensorProduct(nn.Module):
    """Backbone that maps a graph to one invariant feature vector per atom.

    Parameters are those of :class:`kstep_integrators.nn.energy.painn.PaiNN`. Beside ``channels``
    scalars there are half as many vectors and a quarter as many tensors of second order.
    """

    def __init__(
        self,
        species: int,
        channels: int = 64,
        layers: int = 2,
        radial: int = 16,
        cutoff: float = 5.0,
    ) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.cutoff = cutoff
        self.basis = BesselBasis(radial, cutoff)
        scalars, gated = _irreps(channels)
        with _exact_constants():
            self.embedding = nn.Embedding(species, channels)
            self.layers = nn.ModuleList(
                _Convolution(scalars + gated if i else scalars, channels, radial)
                for i in range(layers)
            )
        _finish(self, dtype)

    def forward(self, vectors: Tensor, distances: Tensor, graph: Graph) -> Tensor:
        """Map neighbour vectors (..., N, K, 3) and lengths (..., N, K) in angstrom to features.

        Returns
        -------
        Tensor, (..., N, channels)
        """
        cut = smooth_cutoff(distances, self.cutoff).unsqueeze(-1)
        basis = self.basis(distances)
        harmonics = _harmonics(vectors / distances.unsqueeze(-1))
        h: Tensor = self.embedding(graph.species)
        channels = h.shape[-1]
        for layer in self.layers:
            h = layer(h, harmonics, basis, cut, graph.index)
        return h[..., :channels]


class PhaseTensorProduct(nn.Module):
    """Layers for positions, velocities and forces together.

    Products of vectors with harmonics of second order are the directional couplings that the other
    layers of increments write out.

    Parameters
    ----------
    channels, layers, radial : int
    heads : int
        Without meaning here.
    """

    def __init__(self, channels: int, layers: int, radial: int, heads: int) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        scalars, gated = _irreps(channels)
        given = scalars + o3.Irreps([(channels, "1o")])
        self.channels, self.vectors = channels, gated[0].mul
        with _exact_constants():
            self.layers = nn.ModuleList(
                _Convolution(scalars + gated if i else given, channels, radial)
                for i in range(layers)
            )
            self.out = nn.Linear(self.vectors, channels, bias=False)
        _finish(self, dtype)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars (B, N, F) and vectors (B, N, 3, F) after all layers."""
        harmonics = _harmonics(edges.unit)
        h = torch.cat([s, tempered(v).transpose(-1, -2).flatten(-2)], dim=-1)
        for layer in self.layers:
            h = layer(h, harmonics, edges.basis, edges.cut, None)
        vectors = h[..., self.channels : self.channels + 3 * self.vectors]
        return h[..., : self.channels], self.out(
            vectors.unflatten(-1, (self.vectors, 3)).transpose(-1, -2)
        )
