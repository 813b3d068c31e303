"""Edges of the graphs: distances, directions and weights, smooth wherever the atoms are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff
from kstep_integrators.observables.networks.graphs import scatter
from kstep_integrators.observables.networks.products import HarmonicProducts

__all__ = ["EdgeEmbedding", "Edges", "RadialBasis"]

SOFTENING = 0.05
"""angstrom; distances are sqrt(r^2 + SOFTENING^2), which has a gradient at coincident atoms."""


@dataclass(frozen=True)
class Edges:
    """Directed edges, which are the last axis of all arrays, and what layers need of them.

    Attributes
    ----------
    receivers, senders : (P,) int64
    basis : (R, P)
        Radial functions, followed by 1 in the row of the edge's kind.
    couplings : (C, P)
        Of :class:`~kstep_integrators.observables.networks.products.HarmonicProducts`, with the
        directions from receivers to senders.
    weights : (P,)
        Of messages in the sum over senders; zero at the cutoff, with three derivatives.
    distances : (P,) angstrom
    directions : (P, 3)
        From receivers to senders, shorter than 1 by as much as distances are longer.
    envelope : (P,)
        1 at zero distance and 0 at the cutoff.
    """

    receivers: Tensor
    senders: Tensor
    basis: Tensor
    couplings: Tensor
    weights: Tensor
    distances: Tensor
    directions: Tensor
    envelope: Tensor


class RadialBasis(BesselBasis):
    """Bessel functions whose frequencies are learned on request.

    Parameters
    ----------
    size : int
        Number of functions.
    cutoff : float
        angstrom.
    learned : bool
        Whether the frequencies are weights, which start at those of the Bessel functions.
    """

    def __init__(self, size: int, cutoff: float, learned: bool) -> None:
        super().__init__(size, cutoff)
        if learned:
            start = self.frequencies
            del self.frequencies
            self.frequencies = nn.Parameter(start.clone())


class EdgeEmbedding(nn.Module):
    """Edges of pairs of nodes.

    Parameters
    ----------
    harmonics : e3nn.o3.Irreps
        Spherical harmonics of the directions.
    products : HarmonicProducts
        Of features with these harmonics.
    radial : int
        Number of radial functions.
    cutoff : float
        angstrom.
    learned : bool
        Whether the frequencies of the radial functions are.
    kinds : int
        Kinds of edges that are told apart.
    mean : bool
        Whether messages are averaged over the senders of each kind, rather than added. The number
        of senders is the sum of their envelopes, and one more: no jump when one comes or goes.
    """

    def __init__(
        self,
        harmonics: o3.Irreps,
        products: HarmonicProducts,
        radial: int,
        cutoff: float,
        learned: bool = False,
        kinds: int = 1,
        mean: bool = True,
    ) -> None:
        super().__init__()
        self.harmonics, self.kinds, self.mean = harmonics, kinds, mean
        self.products = products
        self.radial = RadialBasis(radial, cutoff, learned)
        self.size = radial + kinds

    def forward(self, receivers: Tensor, senders: Tensor, positions: Tensor, kind: Tensor) -> Edges:
        """Edges from senders to receivers.

        Parameters
        ----------
        receivers, senders : (P,) int64
        positions : (n, 3) angstrom
        kind : (P,) int64
        """
        vectors = positions[senders] - positions[receivers]
        distances = (vectors.square().sum(-1) + SOFTENING**2).sqrt()
        # Polynomials of vectors shorter than 1: smooth where a direction is not defined.
        directions = vectors / distances.unsqueeze(-1)
        harmonics = o3.spherical_harmonics(
            self.harmonics, directions, normalize=False, normalization="component"
        )
        weights = envelope = smooth_cutoff(distances, self.radial.cutoff)
        if self.mean:
            slot = receivers * self.kinds + kind
            count = scatter(weights, slot, 0, len(positions) * self.kinds, "sum")
            weights = weights / (1.0 + count[slot])
        told = nn.functional.one_hot(kind, self.kinds).to(positions.dtype)
        return Edges(
            receivers,
            senders,
            basis=torch.cat([self.radial(distances), told], dim=-1).T.contiguous(),
            couplings=self.products.couplings(harmonics),
            weights=weights,
            distances=distances,
            directions=directions,
            envelope=envelope,
        )
