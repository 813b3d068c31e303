"""PaiNN-type backbone: scalar and vector features per atom, rotationally equivariant.

Schuett, Unke, Gastegger, "Equivariant message passing for the prediction of tensorial properties
and molecular spectra" (2021), doi:10.48550/arXiv.2102.03150.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.graph import Graph, neighbor_values
from kstep_integrators.nn.common.radial import cut_basis
from kstep_integrators.nn.energy.backbone import Backbone
from kstep_integrators.nn.energy.messages import messages

__all__ = ["PaiNN"]


def _norm(v: Tensor) -> Tensor:
    """Lengths of vectors (..., 3, F), smooth at zero, (..., F)."""
    length: Tensor = (v.square().sum(-2) + 1e-8).sqrt()
    return length


class _Message(nn.Module):
    """Eqs. 7-8: scalars and vectors of the neighbours, filtered by distance."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        self.phi_in = nn.Linear(channels, channels)
        self.phi_out = nn.Linear(channels, 3 * channels)
        self.filter = nn.Linear(radial, 3 * channels)

    def forward(self, s: Tensor, v: Tensor | None, edges: Edges) -> tuple[Tensor, Tensor]:
        phi = neighbor_values(self.phi_out(functional.silu(self.phi_in(s))), edges.index)
        weights = (self.filter(edges.basis) * edges.cut * phi).chunk(3, dim=-1)
        ds = weights[0].sum(-2)
        # (..., N, K, 1, F) * (..., N, K, 3, 1) summed over the K slots
        dv = (weights[1].unsqueeze(-2) * edges.unit.unsqueeze(-1)).sum(-3)
        if v is not None:
            dv = dv + (weights[2].unsqueeze(-2) * neighbor_values(v, edges.index)).sum(-3)
        return ds, dv


class _Update(nn.Module):
    """Eqs. 9-10: mix scalars and vectors within an atom."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.hidden = nn.Linear(2 * channels, channels)
        self.out = nn.Linear(channels, 3 * channels)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        left, right = self.mix(v).chunk(2, dim=-1)
        norm = _norm(right)
        hidden = functional.silu(self.hidden(torch.cat([s, norm], dim=-1)))
        a_ss, a_sv, a_vv = self.out(hidden).chunk(3, dim=-1)
        ds = a_ss + a_sv * (left * right).sum(-2)
        return ds, a_vv.unsqueeze(-2) * left


class PaiNN(Backbone):
    """Scalar and vector features, filtered by distance.

    Parameters are those of :class:`~kstep_integrators.nn.energy.backbone.Backbone`.
    """

    def __init__(
        self, species: int, channels: int, layers: int, radial: int, cutoff: float
    ) -> None:
        super().__init__(species, channels, layers, radial, cutoff)
        self.invariants = 2 * layers * channels
        self.messages = nn.ModuleList(_Message(channels, radial) for _ in range(layers))
        self.updates = nn.ModuleList(_Update(channels) for _ in range(layers))

    def features(self, h: Tensor, edges: Edges) -> list[Tensor]:
        """Pass embedded atoms (..., N, F) through the layers; invariants after each of them."""

        def send(message: _Message, s: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
            ds, dv = message(s, v, edges)
            return ds, dv

        return self._layers(h, send)

    def fixed(self, vectors: Tensor, distances: Tensor, graph: Graph) -> list[Tensor]:
        """Features as of :meth:`forward`, by a way that is cheaper to differentiate twice.

        With respect to positions only: the filters enter as tables, so that nothing can be
        differentiated with respect to their weights. Parameters are those of :meth:`forward`, for
        the dense path.
        """
        functions = cut_basis(self.basis, distances.detach())
        unit = vectors / distances.unsqueeze(-1)

        def send(message: _Message, s: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
            rows = [message.filter.weight, message.filter.bias.unsqueeze(1)]
            value, slope, curvature = (functions @ torch.cat(rows, dim=1).detach().T).unbind()
            a, b, c = message.phi_out(functional.silu(message.phi_in(s))).chunk(3, dim=-1)
            c = c.unsqueeze(-2) * (c.new_zeros(3, 1) if v is None else v)
            return messages(distances, unit, a, b, c, (value, slope, curvature))

        return self._layers(self.embedding(graph.species), send)

    def _layers(
        self,
        s: Tensor,
        send: Callable[[_Message, Tensor, Tensor | None], tuple[Tensor, Tensor]],
    ) -> list[Tensor]:
        """Messages and updates in turn; ``send`` gives what the messages of a layer add.

        Returns
        -------
        list of Tensor, (..., N, F)
            Norms of the vectors and scalars, after each layer.
        """
        v: Tensor | None = None
        after = []
        for message, update in zip(self.messages, self.updates, strict=True):
            ds, dv = send(message, s, v)  # type: ignore[arg-type]
            s, v = s + ds, dv if v is None else v + dv
            ds, dv = update(s, v)
            s, v = s + ds, v + dv
            after += [_norm(v), s]
        return after
