"""PaiNN-type layers for positions, velocities and forces together.

Messages filtered by distance as in doi:10.48550/arXiv.2102.03150, with the projections of relative
vectors on the directions between atoms among what is sent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.edges import SUM_SCALE, Edges
from kstep_integrators.nn.increments.backbone import AtomUpdate, PhaseLayer
from kstep_integrators.nn.increments.couplings import along, exchanged, projections

__all__ = ["PaiNNLayer"]


class PaiNNLayer(PhaseLayer):
    """Messages filtered by distance.

    Parameters
    ----------
    channels, radial, heads : int
        As for :class:`~kstep_integrators.nn.increments.backbone.PhaseBackbone`.
    """

    def __init__(self, channels: int, radial: int, heads: int) -> None:
        super().__init__(channels)
        self.hidden = nn.Linear(channels, channels)
        self.sent = nn.Linear(channels, 3 * channels)
        self.received = nn.Linear(channels, channels, bias=False)
        self.vectors = nn.Linear(channels, channels, bias=False)
        self.filters = nn.ModuleList(nn.Linear(radial, channels) for _ in range(4))
        self.exchange = nn.Linear(radial, heads)
        self.update = AtomUpdate(channels)

    def messages(self, s: Tensor, u: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the neighbours: scalars, vectors along the edges, exchanged vectors."""
        seen = functional.silu(self.hidden(s))
        scalar, push, couple = self.sent(seen).unsqueeze(1).chunk(3, dim=-1)
        p = projections(u, edges.unit)
        filters = [linear(edges.basis) for linear in self.filters]
        cut = SUM_SCALE * edges.cut
        f_scalar, f_rate, f_push, f_couple = (values * cut for values in filters)
        both = couple + self.received(seen).unsqueeze(2)
        return (
            torch.addcmul(f_rate * p, f_scalar, scalar).sum(2),
            along(torch.addcmul(f_couple * both * p, f_push, push), edges.unit),
            exchanged((self.exchange(edges.basis) * cut).permute(0, 3, 1, 2), u),
        )
