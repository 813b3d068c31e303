"""Tensor-product backbone: convolutions of scalars, vectors and tensors, by e3nn.

Batzner et al. (NequIP, 2022), doi:10.1038/s41467-022-29939-5.
"""

from __future__ import annotations

from torch import Tensor, nn

from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.tensor_products import (
    Convolution,
    exact_constants,
    gated_irreps,
    spherical_harmonics,
)
from kstep_integrators.nn.energy.backbone import Backbone

__all__ = ["TensorProduct"]


class TensorProduct(Backbone):
    """Convolutions with spherical harmonics; the scalars of the last are the features.

    Parameters are those of :class:`~kstep_integrators.nn.energy.backbone.Backbone`. Beside
    ``channels`` scalars there are half as many vectors and a quarter as many tensors of second
    order.
    """

    def __init__(
        self, species: int, channels: int, layers: int, radial: int, cutoff: float
    ) -> None:
        scalars, gated = gated_irreps(channels)
        with exact_constants(self):
            super().__init__(species, channels, layers, radial, cutoff)
            self.layers = nn.ModuleList(
                Convolution(scalars + gated if i else scalars, channels, radial)
                for i in range(layers)
            )

    def features(self, h: Tensor, edges: Edges) -> list[Tensor]:
        """Pass embedded atoms (..., N, F) through the layers; invariants after each of them."""
        channels, cut, basis = h.shape[-1], edges.cut, edges.basis
        harmonics = spherical_harmonics(edges.unit)
        after = []
        for layer in self.layers:
            h = layer(h, harmonics, basis, cut, edges.index)
            after.append(h[..., :channels])
        return after
