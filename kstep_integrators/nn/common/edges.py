"""Edges of a graph: neighbour vectors, and the functions of them that layers are built on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff

__all__ = ["SUM_SCALE", "Edges"]

SUM_SCALE = 0.25
"""Factor of sums over neighbours, some sixteen of them, that keeps them of order one."""


@dataclass(frozen=True)
class Edges:
    """Neighbour vectors of all atoms; what follows from them is computed when first asked for.

    Attributes
    ----------
    vectors : (..., N, K, 3) angstrom
        From each atom to its neighbours.
    distances : (..., N, K) angstrom
        Positive in empty slots too.
    index : (N, K) int64 or None
        Atom in each slot, as in :class:`~kstep_integrators.nn.common.graph.Graph`.
    radial : BesselBasis
        Radial functions and their cutoff.
    """

    vectors: Tensor
    distances: Tensor
    index: Tensor | None
    radial: BesselBasis

    @cached_property
    def unit(self) -> Tensor:
        """Directions to the neighbours, (..., N, K, 3)."""
        return self.vectors / self.distances.unsqueeze(-1)

    @cached_property
    def basis(self) -> Tensor:
        """Radial functions of the distances without envelope, (..., N, K, R)."""
        values: Tensor = self.radial(self.distances)
        return values.to(self.distances.dtype)

    @cached_property
    def cut(self) -> Tensor:
        """Smooth envelope (..., N, K, 1), exactly zero for slots beyond the cutoff or empty."""
        return smooth_cutoff(self.distances, self.radial.cutoff).unsqueeze(-1)
