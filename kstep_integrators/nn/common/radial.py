"""Radial functions of interatomic distances: a C3 cutoff and a Bessel basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["BesselBasis", "cut_basis", "frozen_below", "smooth_cutoff"]


def smooth_cutoff(distance: Tensor, cutoff: float | Tensor) -> Tensor:
    r"""Polynomial that falls from 1 at zero to 0 at the cutoff with three continuous derivatives.

    With :math:`u = d/r_c`: :math:`1 - 35u^4 + 84u^5 - 70u^6 + 20u^7`. Forces then have two
    continuous derivatives, which a reversible integrator at finite step needs.

    Parameters
    ----------
    distance : Tensor, any shape, angstrom
    cutoff : float or Tensor broadcastable to it, angstrom

    Returns
    -------
    Tensor of the shape of ``distance``
        In [0, 1]; exactly 0 beyond the cutoff.
    """
    u = (distance / cutoff).clamp(max=1.0)
    u2 = u * u
    return 1.0 - u2 * u2 * (35.0 - u * (84.0 - u * (70.0 - 20.0 * u)))


def frozen_below(distance: Tensor, nearest: Tensor, width: float = 0.2) -> Tensor:
    r"""Distance, made constant for atoms closer than any that the network has learned from.

    Identity at and beyond ``nearest``, constant below ``(1 - width) * nearest``, with four
    continuous derivatives between: with :math:`t = (1 - d/d_0)/w` clamped to [0, 1],
    :math:`\max(d, (1 - w) d_0) + w d_0 (t - P(t))`, where P' is :func:`smooth_cutoff`.

    Parameters
    ----------
    distance : Tensor, any shape, angstrom
    nearest : Tensor broadcastable to it, angstrom
        Closest approach in the training data, positive.
    width : float
        Relative width of the transition.
    """
    t = ((1.0 - distance / nearest) / width).clamp(0.0, 1.0)
    t2 = t * t
    # P(t) = t - 7 t^5 + 14 t^6 - 10 t^7 + 5/2 t^8
    excess = t2 * t2 * t * (7.0 - t * (14.0 - t * (10.0 - 2.5 * t)))
    return torch.maximum(distance, (1.0 - width) * nearest) + width * nearest * excess


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions :math:`\sqrt{2/r_c}\,\sin(n \pi d/r_c)/d`, n = 1..size.

    doi:10.48550/arXiv.2003.03123, eq. 7. The envelope is applied by the caller.

    Parameters
    ----------
    size : int
        Number of functions.
    cutoff : float
        angstrom.
    """

    frequencies: Tensor

    def __init__(self, size: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.scale = math.sqrt(2.0 / cutoff)
        frequencies = torch.arange(1, size + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Map (...,) angstrom to (..., size)."""
        d = distance.unsqueeze(-1)
        return self.scale * torch.sin(d * self.frequencies) / d


def cut_basis(basis: BesselBasis, distance: Tensor) -> Tensor:
    r"""Bessel basis times the smooth cutoff, and the cutoff itself, with two derivatives.

    With :math:`b = \sin(\omega d)/d`: :math:`b' = (\omega \cos \omega d - b)/d`,
    :math:`b'' = -\omega^2 b - 2b'/d`; of the cutoff :math:`P' = -140 u^3 (1-u)^3 / r_c`,
    :math:`P'' = -420 u^2 (1-u)^2 (1-2u) / r_c^2`.

    Parameters
    ----------
    basis : BesselBasis
    distance : Tensor, any shape, angstrom

    Returns
    -------
    Tensor, (3, ..., size + 1)
        Values, first and second derivatives; the cutoff is the last function.
    """
    d = distance.unsqueeze(-1)
    cutoff, frequencies = basis.cutoff, basis.frequencies
    b = basis(distance)
    slope = (basis.scale * frequencies * torch.cos(d * frequencies) - b) / d
    curvature = -frequencies.square() * b - 2.0 * slope / d
    u = (d / cutoff).clamp(max=1.0)
    w = u * (1.0 - u)
    cut = smooth_cutoff(d, cutoff)
    falls = -140.0 * w**3 / cutoff
    bends = -420.0 * w.square() * (1.0 - 2.0 * u) / cutoff**2
    return torch.stack(
        [
            torch.cat([b * cut, cut], dim=-1),
            torch.cat([slope * cut + b * falls, falls], dim=-1),
            torch.cat([curvature * cut + 2.0 * slope * falls + b * bends, bends], dim=-1),
        ]
    )
