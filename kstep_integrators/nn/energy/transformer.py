"""Transformer-EGNN backbone: attention over the neighbours and equivariant coordinate updates.

EGNN (doi:10.48550/arXiv.2102.09844) with multi-head attention (doi:10.48550/arXiv.1706.03762) in
place of its sums: distances enter through a Bessel basis, as a bias of the attention and as
filters of the values.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.attention import smooth_softmax
from kstep_integrators.nn.common.graph import neighbor_values
from kstep_integrators.nn.energy.backbone import MovingLayer

__all__ = ["TransformerLayer"]

HEADS = 4
"""Heads of attention, among which the channels are divided."""


class TransformerLayer(MovingLayer):
    """Attention over the neighbours, then a perceptron, each added to the features.

    Parameters
    ----------
    channels, radial : int
        As for :class:`~kstep_integrators.nn.energy.backbone.Backbone`.
    moves : bool
        Whether coordinates are moved.

    Raises
    ------
    ValueError
        If the channels cannot be divided among four heads.
    """

    def __init__(self, channels: int, radial: int, moves: bool) -> None:
        super().__init__()
        if channels % HEADS:
            raise ValueError(f"channels is {channels}; the transformer needs a multiple of {HEADS}")
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.position_bias = nn.Linear(radial, HEADS)
        self.filter = nn.Linear(radial, channels)
        self.gathered = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 1) if moves else None
        self.hidden_norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(2 * channels, channels)

    def forward(
        self, h: Tensor, vectors: Tensor, basis: Tensor, cut: Tensor, index: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features and moves of the atoms."""
        seen = self.norm(h)
        q = self.query(seen).unflatten(-1, (HEADS, -1)).unsqueeze(-3)
        k = neighbor_values(self.key(seen), index).unflatten(-1, (HEADS, -1))
        logits = (q * k).sum(-1) / math.sqrt(q.shape[-1]) + self.position_bias(basis)
        weights = smooth_softmax(logits.transpose(-1, -2), cut.transpose(-1, -2))
        values = neighbor_values(self.value(seen), index) * self.filter(basis)
        by_channel = weights.transpose(-1, -2).unsqueeze(-1)
        messages = (by_channel * values.unflatten(-1, (HEADS, -1))).flatten(-2)
        h = h + self.gathered(messages.sum(-2))
        move = self.moves(messages, vectors, cut)
        return h + self.out(functional.silu(self.hidden(self.hidden_norm(h)))), move
