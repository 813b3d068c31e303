"""EGNN-type layers for positions, velocities and forces together.

Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (2021),
doi:10.48550/arXiv.2102.09844, section 3.2 (dynamics), with many vectors per atom in place of one
velocity, and their projections on the directions between atoms as inputs of the messages.
"""

from __future__ import annotations

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

__all__ = ["PhaseEGNN"]


class _Layer(nn.Module):
    def __init__(self, channels: int, radial: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.center = nn.Linear(channels, channels)
        self.neighbor = nn.Linear(channels, channels, bias=False)
        self.distance = nn.Linear(radial, channels, bias=False)
        self.rate = nn.Linear(channels, channels, bias=False)
        self.vectors = nn.Linear(channels, channels, bias=False)
        self.message = nn.Linear(channels, channels)
        # No bias: what is zero at the cutoff stays zero.
        self.coefficients = nn.Linear(channels, 2 * channels + heads, bias=False)
        self.gathered = nn.Linear(channels, channels)
        self.update = AtomUpdate(channels)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        channels = s.shape[-1]
        seen, u = self.norm(s), self.vectors(tempered(v))
        p = projections(u, edges.unit)
        pre = self.center(seen).unsqueeze(2) + self.neighbor(seen).unsqueeze(1)
        hidden = functional.silu(pre + self.distance(edges.basis) + self.rate(p))
        # A quarter: sums over some sixteen neighbours stay of order one.
        m = functional.silu(self.message(hidden)) * (0.25 * edges.cut)
        s = s + self.gathered(m.sum(2))
        push, couple, weights = self.coefficients(m).split([channels, channels, self.heads], -1)
        v = v + along(push + couple * p, edges.unit) + exchanged(weights.permute(0, 3, 1, 2), u)
        ds, dv = self.update(s, v)
        return s + ds, v + dv


class PhaseEGNN(nn.Module):
    """Layers of messages that are functions of distances, scalars and projections.

    Parameters
    ----------
    channels, layers, radial, heads : int
        ``heads`` counts the groups of channels that have weights of their own for the exchange of
        whole vectors.
    """

    def __init__(self, channels: int, layers: int, radial: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(channels, radial, heads) for _ in range(layers))

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars (B, N, F) and vectors (B, N, 3, F) after all layers."""
        for layer in self.layers:
            s, v = layer(s, v, edges)
        return s, v
