"""Tensor products of positions, velocities and forces, by e3nn.

Batzner et al. (NequIP, 2022), doi:10.1038/s41467-022-29939-5. Products of vectors with harmonics of
second order are the directional couplings that the other layers of increments write out.
"""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.tensor_products import (
    Convolution,
    exact_constants,
    gated_irreps,
    spherical_harmonics,
)
from kstep_integrators.nn.increments.couplings import tempered

__all__ = ["PhaseTensorProduct"]


class PhaseTensorProduct(nn.Module):
    """Convolutions of scalars, vectors and tensors for positions, velocities and forces together.

    Parameters
    ----------
    channels, layers, radial : int
        As for :class:`~kstep_integrators.nn.increments.backbone.PhaseBackbone`.
    """

    def __init__(self, channels: int, layers: int, radial: int) -> None:
        super().__init__()
        scalars, gated = gated_irreps(channels)
        given = scalars + o3.Irreps([(channels, "1o")])
        self.channels, self.vectors = channels, gated[0].mul
        with exact_constants(self):
            self.layers = nn.ModuleList(
                Convolution(scalars + gated if i else given, channels, radial)
                for i in range(layers)
            )
            self.out = nn.Linear(self.vectors, channels, bias=False)

    def forward(self, s: Tensor, v: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Scalars (B, N, F) and vectors (B, N, 3, F) after all layers."""
        harmonics = spherical_harmonics(edges.unit)
        h = torch.cat([s, tempered(v).transpose(-1, -2).flatten(-2)], dim=-1)
        for layer in self.layers:
            h = layer(h, harmonics, edges.basis, edges.cut, edges.index)
        vectors = h[..., self.channels : self.channels + 3 * self.vectors]
        return h[..., : self.channels], self.out(
            vectors.unflatten(-1, (self.vectors, 3)).transpose(-1, -2)
        )
