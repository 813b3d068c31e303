"""Radial functions of interatomic distances: a C3 cutoff and a Bessel basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["BesselBasis", "frozen_below", "smooth_cutoff"]


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
    r"""The distance, but constant for atoms closer than any that the network has learned from.

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
        self.scale = math.sqrt(2.0 / cutoff)
        frequencies = torch.arange(1, size + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Map (...,) angstrom to (..., size)."""
        d = distance.unsqueeze(-1)
        return self.scale * torch.sin(d * self.frequencies) / d
