"""PaiNN-type layers for positions, velocities and forces together.

Messages filtered by distance as in doi:10.48550/arXiv.2102.03150, with the projections of relative
vectors on the directions between atoms among what is sent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.increments.layers import (
    AtomUpdate,
    Edges,
    along,
    exchanged,
    projections,
    tempered,
)

__all__ = ["PhasePaiNN"]


class _Layer(nn.Module):
    def __init__(self, channels: int, radial: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, channels)
        self.sent = nn.Linear(channels, 3 * channels)
        self.received = nn.Linear(channels, channels, bias=False)
        self.vectors = nn.Linear(channels, channels, bias=False)
        self.filters = nn.ModuleList(nn.Linear(radial, channels) for _ in range(4))
        self.exchange = nn.Linear(radial, heads)
        self.update = AtomUpdate(channels)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        seen, u = functional.silu(self.hidden(self.norm(s))), self.vectors(tempered(v))
        scalar, push, couple = self.sent(seen).unsqueeze(1).chunk(3, dim=-1)
        # A quarter: sums over some sixteen neighbours stay of order one.
        cut = 0.25 * edges.cut
        f_scalar, f_rate, f_push, f_couple = (linear(edges.basis) * cut for linear in self.filters)
        p = projections(u, edges.unit)
        s = s + torch.addcmul(f_rate * p, f_scalar, scalar).sum(2)
        both = couple + self.received(seen).unsqueeze(2)
        v = v + along(torch.addcmul(f_couple * both * p, f_push, push), edges.unit)
        v = v + exchanged((self.exchange(edges.basis) * cut).permute(0, 3, 1, 2), u)
        ds, dv = self.update(s, v)
        return s + ds, v + dv


class PhasePaiNN(nn.Module):
    """Layers of messages filtered by distance.

    Parameters are those of :class:`kstep_integrators.nn.increments.egnn.PhaseEGNN`.
    """

    def __init__(self, channels: int, layers: int, radial: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(channels, radial, heads) for _ in range(layers))

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars (B, N, F) and vectors (B, N, 3, F) after all layers."""
        for layer in self.layers:
            s, v = layer(s, v, edges)
        return s, v
