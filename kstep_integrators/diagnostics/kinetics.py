"""Kinetics of a trajectory: velocity autocorrelation and flips of torsions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy  # it loads its parts when they are first asked for, half a second of imports
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.units import PS

__all__ = [
    "Flips",
    "torsion_flips",
    "torsion_wells",
    "velocity_autocorrelation",
    "well_changes",
]

Array = NDArray[np.float64]

STAGGERED = (-math.pi / 3.0, math.pi / 3.0, math.pi)
"""Wells of a torsion about a single bond, radians."""


def velocity_autocorrelation(momenta: ArrayLike, masses: ArrayLike) -> Array:
    r"""Mass-weighted velocity autocorrelation function.

    :math:`\sum_i m_i \langle v_i(0) v_i(t) \rangle / \sum_i m_i \langle v_i(0)^2 \rangle`; its
    Fourier transform is the vibrational density of states.

    Parameters
    ----------
    momenta : array_like
        Shape (F, N, 3), or (R, F, N, 3) for several runs; ASE units, at equal intervals.
    masses : array_like
        Shape (N,), u.

    Returns
    -------
    numpy.ndarray
        Shape (F,), 1 at lag 0; averaged over time origins and runs. Long lags have few origins.

    Raises
    ------
    ValueError
        If shapes do not belong together, a momentum is not finite, or all are zero.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(100)
    >>> momenta = np.zeros((100, 1, 3))
    >>> momenta[:, 0, 0] = np.cos(2.0 * np.pi * time / 20)  # a period of 20 frames
    >>> velocity_autocorrelation(momenta, [1.0])[[0, 10, 20]].round(1).tolist()
    [1.0, -1.0, 1.0]
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    if p.ndim not in (3, 4) or p.shape[-1] != 3 or m.shape != p.shape[-2:-1] or not p.size:
        raise ValueError(
            f"momenta and masses have shapes {p.shape} and {m.shape}; expected (F, N, 3) or "
            "(R, F, N, 3), and (N,)"
        )
    if not np.isfinite(p).all():
        raise ValueError("momenta are not finite; cut the trajectory before the run blew up")
    frames = p.shape[-3]
    weighted = (p / np.sqrt(m)[:, None]).reshape(-1, frames, 3 * len(m))
    summed = np.zeros(frames)
    for run in weighted:
        for series in run.T:
            summed += scipy.signal.correlate(series, series, method="fft")[frames - 1 :]
    if summed[0] == 0.0:
        raise ValueError("all momenta are zero; nothing moves")
    mean = summed / np.arange(frames, 0, -1)
    return np.asarray(mean / mean[0])


@dataclass(frozen=True)
class Flips:
    """Changes of well of a torsion.

    Attributes
    ----------
    count : int
    nanoseconds : float
        Time that was watched, of all runs.

    Examples
    --------
    >>> flips = Flips(count=4, nanoseconds=2.0)
    >>> flips.per_ns, flips.error_per_ns
    (2.0, 1.0)
    """

    count: int
    nanoseconds: float

    @property
    def per_ns(self) -> float:
        """Flips in a nanosecond."""
        return self.count / self.nanoseconds

    @property
    def error_per_ns(self) -> float:
        """Standard error of the rate if flips are independent; of no flip at all, that of one."""
        return math.sqrt(max(self.count, 1)) / self.nanoseconds


def torsion_wells(
    angles: ArrayLike, wells: ArrayLike = STAGGERED, core: float = math.pi / 6.0
) -> NDArray[np.int64]:
    """Well at whose bottom each angle is, by number; -1 between them.

    Parameters
    ----------
    angles : array_like
        Any shape; radians.
    wells : array_like
        Bottoms of the wells, radians.
    core : float
        Largest distance from a bottom at which a torsion has arrived, radians.

    Examples
    --------
    >>> import numpy as np
    >>> torsion_wells(np.radians([-62.0, 0.0, 55.0, 178.0])).tolist()
    [0, -1, 1, 2]
    """
    away = np.abs(np.angle(np.exp(1j * (np.asarray(angles)[..., None] - np.asarray(wells)))))
    return np.where(away.min(-1) < core, away.argmin(-1), -1)


def well_changes(wells: ArrayLike) -> int:
    """Changes of the well last visited, over runs (R, F); recrossings of a barrier do not count.

    Examples
    --------
    >>> well_changes([[0, -1, 0, -1, 1, 1, 2]])
    2
    """
    visited = (run[run >= 0] for run in np.asarray(wells))
    return sum(int(np.count_nonzero(np.diff(run))) for run in visited)


def torsion_flips(
    angles: ArrayLike,
    interval: float,
    wells: ArrayLike = STAGGERED,
    core: float = math.pi / 6.0,
) -> Flips:
    """Rate of the changes of a torsion from one well to another.

    A torsion has arrived once it comes near to the bottom of a well, so that recrossings of a
    barrier do not count (the core-set idea: Buchete & Hummer, doi:10.1021/jp0761665).

    Parameters
    ----------
    angles : array_like
        Shape (F,), or (R, F) for several runs; radians.
    interval : float
        Between frames, ASE time units.
    wells : array_like
        Bottoms of the wells, radians.
    core : float
        Largest distance from a bottom at which a torsion has arrived, radians.

    Raises
    ------
    ValueError
        For another shape, fewer than two frames, values that are not finite, or cores that touch.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.units import PS
    >>> angles = np.radians([60.0, 65.0, 120.0, 175.0, 120.0, 170.0])
    >>> round(torsion_flips(angles, interval=100.0 * PS).per_ns, 6)
    2.0
    """
    x = np.asarray(angles, dtype=np.float64)
    bottoms = np.asarray(wells, dtype=np.float64)
    if x.ndim not in (1, 2) or x.shape[-1] < 2:
        raise ValueError(f"angles have shape {x.shape}; expected (F,) or (R, F) with 2 frames")
    if not np.isfinite(x).all():
        raise ValueError("angles are not finite; cut the trajectory before the run blew up")
    gaps = np.abs(np.angle(np.exp(1j * (bottoms[:, None] - bottoms))))
    if len(bottoms) < 2 or gaps[~np.eye(len(bottoms), dtype=bool)].min() <= 2.0 * core:
        raise ValueError(
            f"wells are {bottoms.tolist()} with cores of {core} radians; expected two wells or "
            "more, whose cores do not touch"
        )
    runs = np.atleast_2d(x)
    count = well_changes(torsion_wells(runs, bottoms, core))
    return Flips(count, runs.shape[0] * (runs.shape[1] - 1) * interval / (1000.0 * PS))
