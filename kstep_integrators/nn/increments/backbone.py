"""Frame of the backbones of increments: messages, then an update of each atom, layer by layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.increments.couplings import tempered

__all__ = ["AtomUpdate", "PhaseBackbone", "PhaseLayer"]


class AtomUpdate(nn.Module):
    """Mix scalars and vectors within an atom: eqs. 9-10 of PaiNN, doi:10.48550/arXiv.2102.03150.

    Products of the vectors, between those of velocities and forces too, enter the scalars.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(3 * channels, channels)
        self.out = nn.Linear(channels, 3 * channels)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Additions to the scalars (..., F) and vectors (..., 3, F)."""
        left, right = self.mix(v).chunk(2, dim=-1)
        length = (right.square().sum(-2) + 1e-8).sqrt()
        # Read on scales on which large values do not take over.
        product = torch.asinh((left * right).sum(-2))
        seen = [self.norm(s), torch.log1p(length), product]
        hidden = functional.silu(self.hidden(torch.cat(seen, dim=-1)))
        a_ss, a_sv, a_vv = self.out(hidden).chunk(3, dim=-1)
        return a_ss + a_sv * product, a_vv.unsqueeze(-2) * left


class PhaseLayer(nn.Module, ABC):
    """Layer that sends scalars (B, N, F) and vectors (B, N, 3, F) along edges and updates atoms.

    Attributes
    ----------
    norm : LayerNorm
        Of the scalars that are sent.
    vectors : Module
        Linear map of the vectors that are sent. The subclass makes it, and ``update`` last.
    update : AtomUpdate
    """

    vectors: nn.Module
    update: AtomUpdate

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars and vectors after this layer."""
        ds, pushed, exchanged = self.messages(self.norm(s), self.vectors(tempered(v)), edges)
        s, v = s + ds, v + pushed + exchanged
        ds, dv = self.update(s, v)
        return s + ds, v + dv

    @abstractmethod
    def messages(self, s: Tensor, u: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the neighbours.

        Parameters
        ----------
        s : (B, N, F)
            Normalized scalars.
        u : (B, N, 3, F)
            Mapped vectors.
        edges : Edges

        Returns
        -------
        scalars : (B, N, F)
        pushed : (B, N, 3, F)
            Vectors along the edges.
        exchanged : (B, N, 3, F)
            Vectors of the neighbours, relative to the atom's own.
        """


class PhaseBackbone(nn.Module):
    """Layers for positions, velocities and forces together.

    Parameters
    ----------
    layer : callable (channels, radial, heads) -> PhaseLayer
        Maker of one layer.
    channels, layers, radial, heads : int
        ``heads`` counts the groups of channels that have weights of their own for the exchange of
        whole vectors.
    """

    def __init__(
        self,
        layer: Callable[[int, int, int], PhaseLayer],
        channels: int,
        layers: int,
        radial: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(channels, radial, heads) for _ in range(layers))

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars (B, N, F) and vectors (B, N, 3, F) after all layers."""
        for layer in self.layers:
            s, v = layer(s, v, edges)
        return s, v
