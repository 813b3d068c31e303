r"""Baselines of a direct jump: its motion without the network, and increments beyond it.

With h the stride and F, F' the physical forces at start and landing, the two baselines are

.. math::

    \text{verlet}: \quad x' &= x + h v + \tfrac{h^2}{2m} F + \delta x, &
    v' &= v + \tfrac{h}{2m} (F + F') + \delta v \\
    \text{plain}: \quad x' &= x + h V + \delta x, & v' &= v + \delta v

V is the velocity of the centre of mass. ``verlet`` without increments is velocity Verlet at h
(Swope et al., doi:10.1063/1.442716), written as half-kick, drift, half-kick.

Arrays are (..., N, 3), molecules along the leading axes; masses are (..., N, 1) and 0 for padding
atoms, which are never kicked and have no say in a centre of mass. Strides are numbers, or tensors
that broadcast: (B, 1, 1) where each molecule has its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kstep_integrators.nn.increments.network import BASELINES

__all__ = [
    "center_of_mass",
    "check_baseline",
    "drift",
    "half_kick",
    "increments",
    "landing",
    "without_mean",
]


def check_baseline(name: str) -> None:
    """Refuse a name that is no baseline's.

    Raises
    ------
    ValueError
        The message lists those there are.
    """
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; choose one of {list(BASELINES)}")


def center_of_mass(values: Tensor, masses: Tensor) -> Tensor:
    """Mass-weighted mean over the atoms of each molecule: (..., N, 3) -> (..., 1, 3)."""
    total = masses.sum(-2, keepdim=True)
    return (masses * values).sum(-2, keepdim=True) / total


def without_mean(values: Tensor, masses: Tensor) -> Tensor:
    """Values whose mass-weighted mean is zero; padding atoms get zeros."""
    return torch.where(masses > 0, values - center_of_mass(values, masses), 0.0)


def half_kick(
    baseline: str, velocities: Tensor, forces: Tensor, masses: Tensor, stride: float | Tensor
) -> Tensor:
    """Velocities after half a kick by the physical forces, angstrom / ASE time.

    Parameters
    ----------
    baseline : str
        ``"plain"`` has none.
    velocities : (..., N, 3) angstrom / ASE time
    forces : (..., N, 3) eV/angstrom
    masses : (..., N, 1) u
    stride : float or Tensor
        ASE time units.
    """
    check_baseline(baseline)
    if baseline == "plain":
        return velocities
    real = masses > 0
    kick = 0.5 * stride * forces / torch.where(real, masses, 1.0)
    return velocities + torch.where(real, kick, 0.0)


def drift(
    baseline: str, positions: Tensor, velocities: Tensor, masses: Tensor, stride: float | Tensor
) -> Tensor:
    """Positions after the drift of the baseline, angstrom.

    Parameters
    ----------
    baseline : str
    positions : (..., N, 3) angstrom
    velocities : (..., N, 3) angstrom / ASE time
        After the half-kick.
    masses : (..., N, 1) u
    stride : float or Tensor
        ASE time units.
    """
    check_baseline(baseline)
    if baseline == "plain":
        velocities = center_of_mass(velocities, masses)
    return positions + stride * velocities


def increments(
    baseline: str,
    x0: Tensor,
    v0: Tensor,
    f0: Tensor,
    x1: Tensor,
    v1: Tensor,
    f1: Tensor,
    masses: Tensor,
    stride: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """Increments from one end of a window to the other, beyond the baseline.

    Parameters
    ----------
    baseline : str
    x0, x1 : (..., N, 3) angstrom
        Positions at start and landing.
    v0, v1 : (..., N, 3) angstrom / ASE time
    f0, f1 : (..., N, 3) eV/angstrom
        Physical forces.
    masses : (..., N, 1) u
    stride : float or Tensor
        ASE time units.

    Returns
    -------
    dx : (..., N, 3) angstrom
    dv : (..., N, 3) angstrom / ASE time

    Raises
    ------
    ValueError
        If there is no such baseline.
    """
    opened = half_kick(baseline, v0, f0, masses, stride)
    dx = x1 - drift(baseline, x0, opened, masses, stride)
    return dx, v1 - half_kick(baseline, opened, f1, masses, stride)


def landing(
    baseline: str,
    x0: Tensor,
    v0: Tensor,
    f0: Tensor,
    dx: Tensor,
    dv: Tensor,
    f1: Tensor,
    masses: Tensor,
    stride: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """End of a stride with given increments: the inverse of :func:`increments`.

    The positions do not depend on ``f1``, the physical forces there.

    Returns
    -------
    x1 : (..., N, 3) angstrom
    v1 : (..., N, 3) angstrom / ASE time
    """
    opened = half_kick(baseline, v0, f0, masses, stride)
    x1 = drift(baseline, x0, opened, masses, stride) + dx
    return x1, half_kick(baseline, opened + dv, f1, masses, stride)
