"""Frame of the backbones of energies: embedding, edges, and layers that may move coordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.graph import Graph, neighbor_values
from kstep_integrators.nn.common.radial import BesselBasis

__all__ = ["Backbone", "MovingBackbone", "MovingLayer"]


class Backbone(nn.Module, ABC):
    """Map from a graph to invariant features of the atoms, after each layer.

    Parameters
    ----------
    species : int
        Number of elements.
    channels : int
        Width F of the features.
    layers : int
        Message-passing layers, which the subclass makes.
    radial : int
        Size of the radial basis.
    cutoff : float
        angstrom.

    Attributes
    ----------
    invariants : int
        Invariants of an atom over all layers, I.
    """

    def __init__(
        self, species: int, channels: int, layers: int, radial: int, cutoff: float
    ) -> None:
        super().__init__()
        self.invariants = layers * channels
        self.embedding = nn.Embedding(species, channels)
        self.basis = BesselBasis(radial, cutoff)

    def forward(self, vectors: Tensor, distances: Tensor, graph: Graph) -> list[Tensor]:
        """Map neighbour vectors (..., N, K, 3) and lengths (..., N, K) in angstrom to features.

        Returns
        -------
        list of Tensor, (..., N, F)
            Invariants, I in all; the last are the features after the last layer.
        """
        edges = Edges(vectors, distances, graph.index, self.basis)
        return self.features(self.embedding(graph.species), edges)

    @abstractmethod
    def features(self, h: Tensor, edges: Edges) -> list[Tensor]:
        """Pass embedded atoms (..., N, F) through the layers; invariants after each of them."""


class MovingLayer(nn.Module, ABC):
    """Layer of invariant messages that may move the coordinates which the next layer sees.

    Attributes
    ----------
    gate : Linear or None
        From messages to how far along each vector an atom moves; None for no moves.
    """

    gate: nn.Linear | None

    @abstractmethod
    def forward(
        self, h: Tensor, vectors: Tensor, basis: Tensor, cut: Tensor, index: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Update features (..., N, F), and give the moves of the atoms, (..., N, 3) or None.

        Parameters
        ----------
        h : (..., N, F)
        vectors : (..., N, K, 3) angstrom
            Between the moved coordinates.
        basis : (..., N, K, R)
            Radial functions of their lengths.
        cut : (..., N, K, 1)
            Envelope of the real distances.
        index : (N, K) int64 or None
            Atom in each slot.
        """

    def moves(self, messages: Tensor, vectors: Tensor, cut: Tensor) -> Tensor | None:
        """Sum of the softened directions, weighted by gated messages, (..., N, 3), or None."""
        if self.gate is None:
            return None
        unit = vectors / (vectors.square().sum(-1, keepdim=True) + 1.0).sqrt()
        return (unit * torch.tanh(self.gate(messages)) * cut).sum(-2)


class MovingBackbone(Backbone):
    """Frame of the backbones whose layers, all but the last, move coordinates.

    The cutoff acts on the real distances; the moved coordinates only enter the basis.

    Parameters
    ----------
    layer : callable (channels, radial, moves) -> MovingLayer
        Maker of one layer, with or without moves.
    species, channels, layers, radial, cutoff
        As for :class:`Backbone`.
    """

    def __init__(
        self,
        layer: Callable[[int, int, bool], MovingLayer],
        species: int,
        channels: int,
        layers: int,
        radial: int,
        cutoff: float,
    ) -> None:
        super().__init__(species, channels, layers, radial, cutoff)
        self.layers = nn.ModuleList(layer(channels, radial, i < layers - 1) for i in range(layers))

    def features(self, h: Tensor, edges: Edges) -> list[Tensor]:
        """Pass embedded atoms (..., N, F) through the layers; invariants after each of them."""
        vectors, distances, cut = edges.vectors, edges.distances, edges.cut
        after = []
        for layer in self.layers:
            h, move = layer(h, vectors, self.basis(distances), cut, edges.index)
            after.append(h)
            if move is not None:
                vectors = vectors + neighbor_values(move, edges.index) - move.unsqueeze(-2)
                # Softened: moved atoms may meet, real ones do not.
                distances = (vectors.square().sum(-1) + 1e-4).sqrt()
        return after
