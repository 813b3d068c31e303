"""Transformer-EGNN: attention between a stream of positions and a stream of velocities.

Attention (doi:10.48550/arXiv.1706.03762) weights messages like those of an EGNN; distances enter it
as a bias, through a radial basis. The first half of the channels belongs to positions and forces,
the second half to velocities; a head reads its queries from one stream and its keys and values from
the same (self-attention) or from the other (cross-attention).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.attention import smooth_softmax
from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.graph import pair_sums
from kstep_integrators.nn.increments.backbone import AtomUpdate, PhaseLayer
from kstep_integrators.nn.increments.couplings import exchanged, projections

__all__ = ["TransformerLayer"]


class _Streams(nn.Module):
    """A linear map of each stream, channels ordered by (receiver, sender, head, width).

    Parameters
    ----------
    channels : int
    sends : bool
        Whether the input is that of the senders; else of the receivers.
    bias : bool
    """

    def __init__(self, channels: int, sends: bool, bias: bool = True) -> None:
        super().__init__()
        self.sends = sends
        half = channels // 2
        self.maps = nn.ModuleList(nn.Linear(half, half, bias=bias) for _ in range(2))

    def forward(self, values: Tensor) -> Tensor:
        parts = values.chunk(2, dim=-1)
        mapped = [linear(part) for linear, part in zip(self.maps, parts, strict=True)]
        if not self.sends:
            return torch.cat(mapped, dim=-1)
        own, other = zip(*(part.chunk(2, dim=-1) for part in mapped), strict=True)
        return torch.cat([own[0], own[1], other[0], other[1]], dim=-1)


class TransformerLayer(PhaseLayer):
    """Attention over the neighbours.

    Parameters
    ----------
    channels, radial, heads : int
        ``heads`` is a multiple of 4, because there are four pairs of streams.

    Raises
    ------
    ValueError
        If the heads cannot be divided among the pairs of streams.
    """

    def __init__(self, channels: int, radial: int, heads: int) -> None:
        if heads % 4:
            raise ValueError(f"{heads} heads given; expected heads a multiple of 4")
        super().__init__(channels)
        self.heads = heads
        self.query = _Streams(channels, sends=False)
        self.key = _Streams(channels, sends=True, bias=False)
        self.position_bias = nn.Linear(radial, heads)
        self.center = _Streams(channels, sends=False)
        self.neighbor = _Streams(channels, sends=True, bias=False)
        self.vectors = _Streams(channels, sends=True, bias=False)
        self.distance = nn.Linear(radial, channels, bias=False)
        self.rate = nn.Linear(channels, channels, bias=False)
        self.coefficients = nn.Linear(channels, 2 * channels)
        self.gathered = _Streams(channels, sends=False, bias=False)
        self.pushed = _Streams(channels, sends=False, bias=False)
        self.exchanged = _Streams(channels, sends=False, bias=False)
        self.update = AtomUpdate(channels)

    def _attention(self, seen: Tensor, edges: Edges) -> Tensor:
        """Weights (B, H, N, N)."""
        q, k = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(seen), self.key(seen))
        )
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        bias = self.position_bias(edges.basis).permute(0, 3, 1, 2)
        return smooth_softmax(logits + bias, edges.cut.permute(0, 3, 1, 2))

    def messages(self, s: Tensor, u: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the neighbours: scalars, vectors along the edges, exchanged vectors."""
        p = projections(u, edges.unit)
        weights = self._attention(s, edges)
        pairs = pair_sums(self.center(s), self.neighbor(s), edges.index)
        message = functional.silu(pairs + self.distance(edges.basis) + self.rate(p))
        push, couple = self.coefficients(message).chunk(2, dim=-1)
        return (
            self.gathered(_attended(weights, message).squeeze(2)),
            self.pushed(_attended(weights, push + couple * p, edges.unit)),
            self.exchanged(exchanged(weights, u)),
        )


def _attended(weights: Tensor, values: Tensor, components: Tensor | None = None) -> Tensor:
    """Sum over j of weights (B, H, N, N), components (B, N, N, C) and values (B, N, N, F).

    Returns (B, N, C, F): each channel with the weight of its head. Without components, C = 1.
    """
    heads = weights.shape[1]
    by_pair = weights.permute(0, 2, 3, 1)
    if components is not None:
        by_pair = (components.unsqueeze(-1) * by_pair.unsqueeze(3)).flatten(3)
    # All heads times all channels, of which each channel keeps its head: cheaper than to
    # multiply the values of all pairs.
    product = by_pair.transpose(-1, -2) @ values
    split = product.unflatten(2, (-1, heads)).unflatten(-1, (heads, -1))
    own: Tensor = split.diagonal(dim1=3, dim2=4).transpose(-1, -2).flatten(-2)
    return own
