"""EGNN backbone: invariant messages and equivariant coordinate updates.

Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (2021),
doi:10.48550/arXiv.2102.09844, with a Bessel basis in place of the squared distance and a C3 cutoff
on every message.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.graph import Graph, neighbor_values
from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff

__all__ = ["EGNN"]


class _Layer(nn.Module):
    """Eqs. 3-6 of the paper."""

    def __init__(self, channels: int, radial: int, moves: bool) -> None:
        super().__init__()
        self.center = nn.Linear(channels, channels)
        self.neighbor = nn.Linear(channels, channels, bias=False)
        self.distance = nn.Linear(radial, channels, bias=False)
        self.message = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 1) if moves else None
        self.hidden = nn.Linear(2 * channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(
        self, h: Tensor, basis: Tensor, cut: Tensor, vectors: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        pre = (
            self.center(h).unsqueeze(-2)
            + neighbor_values(self.neighbor(h), graph.index)
            + self.distance(basis)
        )
        m = functional.silu(self.message(functional.silu(pre))) * cut
        move = None
        if self.gate is not None:
            unit = vectors / (vectors.square().sum(-1, keepdim=True) + 1.0).sqrt()
            move = (unit * torch.tanh(self.gate(m)) * cut).sum(-2)
        hidden = functional.silu(self.hidden(torch.cat([h, m.sum(-2)], dim=-1)))
        return h + self.out(hidden), move


class EGNN(nn.Module):
    """Backbone that maps a graph to one invariant feature vector per atom.

    Parameters are those of :class:`kstep_integrators.nn.energy.painn.PaiNN`. The cutoff acts on the
    real distances; the moved coordinates only enter the basis.
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
        self.cutoff = cutoff
        self.embedding = nn.Embedding(species, channels)
        self.basis = BesselBasis(radial, cutoff)
        self.layers = nn.ModuleList(
            _Layer(channels, radial, moves=i < layers - 1) for i in range(layers)
        )

    def forward(self, vectors: Tensor, distances: Tensor, graph: Graph) -> Tensor:
        """Map neighbour vectors (..., N, K, 3) and lengths (..., N, K) in angstrom to features.

        Returns
        -------
        Tensor, (..., N, channels)
        """
        cut = smooth_cutoff(distances, self.cutoff).unsqueeze(-1)
        h: Tensor = self.embedding(graph.species)
        for layer in self.layers:
            h, move = layer(h, self.basis(distances), cut, vectors, graph)
            if move is not None:
                vectors = vectors + neighbor_values(move, graph.index) - move.unsqueeze(-2)
                # Softened: moved atoms may meet, real ones do not.
                distances = (vectors.square().sum(-1) + 1e-4).sqrt()
        return h
