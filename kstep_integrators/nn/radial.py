"""Radial functions of interatomic distances: a C3 cutoff and a Bessel basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["BesselBasis", "smooth_cutoff"]


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
