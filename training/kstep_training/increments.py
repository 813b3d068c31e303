"""What a direct jump has to add to its baseline: labels made from the two ends of a window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BASELINES", "increments"]

Array = npt.NDArray[np.float64]

BASELINES = ("verlet", "plain")


def increments(
    baseline: str,
    start: tuple[Array, Array, Array],
    end: tuple[Array, Array, Array],
    masses: Array,
    duration: Array | float,
) -> tuple[Array, Array]:
    r"""Position and velocity increments beyond a baseline, in float64.

    ``verlet`` is one step of velocity Verlet with the physical forces at both ends, ``plain`` the
    motion of the centre of mass. The mass-weighted means are taken out, as the network does.

    Parameters
    ----------
    baseline : str
    start, end : tuple of (..., N, 3)
        Positions (about the centre of mass), velocities (momentum-free) and forces.
    masses : (..., N)
        Zero for padding atoms, whose increments are zero.
    duration : float, or (..., 1, 1)
        ASE time.

    Returns
    -------
    dx, dv : (..., N, 3) angstrom, angstrom / ASE time

    Raises
    ------
    ValueError
        If there is no such baseline.
    """
    if baseline not in BASELINES:
        raise ValueError(f"baseline is {baseline!r}, expected one of {list(BASELINES)}")
    (x, v, f), (x_end, v_end, f_end) = start, end
    dx, dv = x_end - x, v_end - v
    m = masses[..., None]
    if baseline == "verlet":
        half = 0.5 * duration / np.where(m > 0.0, m, np.inf)
        dx = dx - duration * (v + half * f)
        dv = dv - half * (f + f_end)
    total = m.sum(-2, keepdims=True)
    real = m > 0.0
    dx = np.where(real, dx - (m * dx).sum(-2, keepdims=True) / total, 0.0)
    dv = np.where(real, dv - (m * dv).sum(-2, keepdims=True) / total, 0.0)
    return dx, dv
