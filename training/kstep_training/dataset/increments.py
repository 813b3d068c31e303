"""Increments of a direct jump beyond its baseline, from the two ends of a window."""

from __future__ import annotations

from torch import Tensor

from kstep_integrators.jumps.baseline import increments, without_mean

__all__ = ["End", "window_increments"]

End = tuple[Tensor, Tensor, Tensor]
"""Positions (about the centre of mass), velocities (momentum-free) and forces, (B, N, 3) each."""


def window_increments(
    baseline: str, start: End, end: End, masses: Tensor, stride: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Increments beyond the baseline, without their mass-weighted means, as the network gives them.

    Parameters
    ----------
    baseline : str
    start, end : tuple of (B, N, 3) float64
    masses : (B, N) or (N,) float64
        u; zero for padding atoms, whose increments are zero.
    stride : float, or (B, 1, 1)
        ASE time.

    Returns
    -------
    dx, dv : (B, N, 3) angstrom, angstrom / ASE time

    Raises
    ------
    ValueError
        If there is no such baseline.
    """
    mass = masses.unsqueeze(-1)
    dx, dv = increments(baseline, *start, *end, mass, stride)
    return without_mean(dx, mass), without_mean(dv, mass)
