"""EGNN-type layers for positions, velocities and forces together.

Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (2021),
doi:10.48550/arXiv.2102.09844, section 3.2 (dynamics), with many vectors per atom in place of one
velocity, and their projections on the directions between atoms as inputs of the messages.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.edges import SUM_SCALE, Edges
from kstep_integrators.nn.common.graph import pair_sums
from kstep_integrators.nn.increments.backbone import AtomUpdate, PhaseLayer
from kstep_integrators.nn.increments.couplings import along, exchanged, projections

__all__ = ["EGNNLayer"]


class EGNNLayer(PhaseLayer):
    """Messages that are functions of distances, scalars and projections.

    Parameters
    ----------
    channels, radial, heads : int
        As for :class:`~kstep_integrators.nn.increments.backbone.PhaseBackbone`.
    """

    def __init__(self, channels: int, radial: int, heads: int) -> None:
        super().__init__(channels)
        self.heads = heads
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

    def messages(self, s: Tensor, u: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the neighbours: scalars, vectors along the edges, exchanged vectors."""
        channels = s.shape[-1]
        p = projections(u, edges.unit)
        pairs = pair_sums(self.center(s), self.neighbor(s), edges.index)
        hidden = functional.silu(pairs + self.distance(edges.basis) + self.rate(p))
        m = functional.silu(self.message(hidden)) * (SUM_SCALE * edges.cut)
        push, couple, weights = self.coefficients(m).split([channels, channels, self.heads], -1)
        return (
            self.gathered(m.sum(2)),
            along(push + couple * p, edges.unit),
            exchanged(weights.permute(0, 3, 1, 2), u),
        )
