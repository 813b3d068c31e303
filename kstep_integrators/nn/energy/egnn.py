"""EGNN backbone: invariant messages and equivariant coordinate updates.

Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (2021),
doi:10.48550/arXiv.2102.09844, with a Bessel basis in place of the squared distance and a C3 cutoff
on every message.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.graph import pair_sums
from kstep_integrators.nn.energy.backbone import MovingLayer

__all__ = ["EGNNLayer"]


class EGNNLayer(MovingLayer):
    """Sums of messages from the neighbours: eqs. 3-6 of the paper.

    Parameters
    ----------
    channels, radial : int
        As for :class:`~kstep_integrators.nn.energy.backbone.Backbone`.
    moves : bool
        Whether coordinates are moved.
    """

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
        self, h: Tensor, vectors: Tensor, basis: Tensor, cut: Tensor, index: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features and moves of the atoms."""
        pairs = pair_sums(self.center(h), self.neighbor(h), index) + self.distance(basis)
        m = functional.silu(self.message(functional.silu(pairs))) * cut
        move = self.moves(m, vectors, cut)
        hidden = functional.silu(self.hidden(torch.cat([h, m.sum(-2)], dim=-1)))
        return h + self.out(hidden), move
