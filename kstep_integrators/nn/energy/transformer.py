"""Transformer-EGNN backbone: attention over the neighbours and equivariant coordinate updates.

EGNN (doi:10.48550/arXiv.2102.09844) with multi-head attention (doi:10.48550/arXiv.1706.03762) in
place of its sums: distances enter through a Bessel basis, as a bias of the attention and as
filters of the values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.attention import smooth_softmax
from kstep_integrators.nn.common.graph import Graph, neighbor_values
from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff

__all__ = ["Transformer"]


class _Layer(nn.Module):
    """Attention with moved coordinates, then a perceptron, each added to what was there."""

    def __init__(self, channels: int, radial: int, heads: int, moves: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.position_bias = nn.Linear(radial, heads)
        self.filter = nn.Linear(radial, channels)
        self.gathered = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 1) if moves else None
        self.hidden_norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(2 * channels, channels)

    def forward(
        self, h: Tensor, basis: Tensor, cut: Tensor, vectors: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        seen = self.norm(h)
        q = self.query(seen).unflatten(-1, (self.heads, -1)).unsqueeze(-3)
        k = neighbor_values(self.key(seen), graph.index).unflatten(-1, (self.heads, -1))
        logits = (q * k).sum(-1) / math.sqrt(q.shape[-1]) + self.position_bias(basis)
        weights = smooth_softmax(logits.transpose(-1, -2), cut.transpose(-1, -2))
        values = neighbor_values(self.value(seen), graph.index) * self.filter(basis)
        by_channel = weights.transpose(-1, -2).unsqueeze(-1)
        messages = (by_channel * values.unflatten(-1, (self.heads, -1))).flatten(-2)
        h = h + self.gathered(messages.sum(-2))
        move = None
        if self.gate is not None:
            unit = vectors / (vectors.square().sum(-1, keepdim=True) + 1.0).sqrt()
            move = (unit * torch.tanh(self.gate(messages)) * cut).sum(-2)
        return h + self.out(functional.silu(self.hidden(self.hidden_norm(h)))), move


class Transformer(nn.Module):
    """Backbone that maps a graph to one invariant feature vector per atom.

    Parameters are those of :class:`kstep_integrators.nn.energy.painn.PaiNN`; the channels are
    divided among four heads. As in :class:`kstep_integrators.nn.energy.egnn.EGNN` the cutoff acts
    on the real distances.

    Raises
    ------
    ValueError
        If the number of channels is not a multiple of 4.
    """

    HEADS = 4

    def __init__(
        self,
        species: int,
        channels: int = 64,
        layers: int = 2,
        radial: int = 16,
        cutoff: float = 5.0,
    ) -> None:
        super().__init__()
        if channels % self.HEADS:
            raise ValueError(
                f"channels is {channels}; the transformer needs a multiple of {self.HEADS}"
            )
        self.cutoff = cutoff
        self.embedding = nn.Embedding(species, channels)
        self.basis = BesselBasis(radial, cutoff)
        self.layers = nn.ModuleList(
            _Layer(channels, radial, self.HEADS, moves=i < layers - 1) for i in range(layers)
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
