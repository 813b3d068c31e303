"""Correlation times, effective samples and errors of means of a set of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Correlation", "autocorrelation", "block_error", "correlation", "on_circle"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Correlation of a stationary series with itself.

    Attributes
    ----------
    inefficiency : float
        Frames that are worth one independent sample, 1 + 2 sum of the autocorrelation: twice the
        integrated autocorrelation time.
    error : float
        Standard error of it.
    effective_samples : float
        Frames of all runs over the inefficiency.
    resolved : bool
        Whether the runs are long enough for the window that was asked for. If not, all lags were
        summed, and the numbers are no more than a guess.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(4, 1000))
    >>> result = correlation(noise)
    >>> result.resolved, 0.8 < result.inefficiency < 1.2
    (True, True)
    """

    inefficiency: float
    error: float
    effective_samples: float
    resolved: bool


def on_circle(angles: ArrayLike) -> Array:
    """Cosine and sine, (..., 2), as which angles enter averages and correlations.

    Parameters
    ----------
    angles : array_like
        Shape (...), radians.

    Examples
    --------
    >>> on_circle(0.0).tolist()
    [1.0, 0.0]
    """
    a = np.asarray(angles, dtype=np.float64)
    return np.stack([np.cos(a), np.sin(a)], axis=-1)


def _series(series: ArrayLike, least: int) -> Array:
    x = np.asarray(series, dtype=np.float64)
    if x.ndim not in (2, 3) or x.shape[0] < 1 or x.shape[1] < least:
        raise ValueError(
            f"series has shape {x.shape}; expected (runs, frames) or (runs, frames, components) "
            f"with at least {least} frames"
        )
    if not np.isfinite(x).all():
        raise ValueError("series has values that are not finite; leave out runs that blew up")
    return x if x.ndim == 3 else x[:, :, None]


def autocorrelation(series: ArrayLike) -> Array:
    """Autocorrelation function by fast Fourier transform.

    About the mean of all runs together, so that runs which stay where they began show as memory.

    Parameters
    ----------
    series : array_like
        Shape (R, F), or (R, F, D) for vectors, whose covariances are summed over components (as of
        :func:`on_circle`); R runs that are independent of each other.

    Returns
    -------
    numpy.ndarray
        Shape (F,), 1 at lag 0.

    Raises
    ------
    ValueError
        For another shape, values that are not finite or a series that is constant.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(4, 1000))
    >>> autocorrelation(np.repeat(noise, 4, axis=1))[[0, 2, 8]].round(1).tolist()
    [1.0, 0.5, 0.0]
    """
    x = _series(series, 2)
    n = x.shape[1]
    x = x - x.mean(axis=(0, 1))
    spectrum = np.fft.rfft(x, 2 * n, axis=1)
    lagged = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n].mean(axis=0).sum(axis=1)
    covariance = lagged / np.arange(n, 0, -1)
    if covariance[0] <= 1e-24 * max(1.0, float(np.square(series).max())):
        raise ValueError("series is constant; it has no autocorrelation")
    return np.asarray(covariance / covariance[0])


def correlation(series: ArrayLike, window: float = 5.0) -> Correlation:
    """Statistical inefficiency and effective samples of a set of runs.

    The autocorrelation is summed up to the first lag that is at least ``window`` integrated times.
    Madras & Sokal, doi:10.1007/BF01022990, with their error.

    Parameters
    ----------
    series : array_like
        As in :func:`autocorrelation`; equilibrated.
    window : float
        Larger ones miss less of a slow tail and are noisier.

    Raises
    ------
    ValueError
        As in :func:`autocorrelation`, or if the window is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(4, 1000))
    >>> 3000 < correlation(noise).effective_samples < 5000
    True
    >>> 300 < correlation(np.repeat(noise, 10, axis=1)).effective_samples / 10 < 500
    True
    """
    if not window > 0:
        raise ValueError(f"window is {window}, expected a number of correlation times above 0")
    x = _series(series, 2)
    runs, frames = x.shape[:2]
    sums = 2.0 * np.cumsum(autocorrelation(x)) - 1.0
    # Beyond half of a run there are hardly any pairs of frames.
    lags = np.arange(max(1, frames // 2))
    # Where the first lags are negative, sums are small before they have settled.
    enough = np.flatnonzero(lags >= 0.5 * window * np.maximum(sums[: len(lags)], 1.0))
    last = int(enough[0]) if len(enough) else len(lags) - 1
    # Series that swing back may be worth more than their length, but not without end.
    inefficiency = max(float(sums[last]), 1.0 / frames)
    return Correlation(
        inefficiency=inefficiency,
        error=inefficiency * float(np.sqrt(2.0 * (2 * last + 1) / (runs * frames))),
        effective_samples=runs * frames / inefficiency,
        resolved=bool(len(enough)),
    )


def block_error(series: ArrayLike, blocks: int = 1) -> Array:
    """Standard error of the mean, from means over blocks that are taken as independent.

    Parameters
    ----------
    series : array_like
        Shape (R, F) or (R, F, D).
    blocks : int
        Of each run; 1 takes whole runs, which are independent by themselves.

    Returns
    -------
    numpy.ndarray
        Shape () or (D,).

    Raises
    ------
    ValueError
        For another shape, or fewer than two blocks in all.

    Examples
    --------
    >>> block_error([[1.0, 1.0], [3.0, 3.0]]).item()
    1.0
    """
    x = _series(series, max(1, blocks))
    if blocks < 1 or x.shape[0] * blocks < 2:
        raise ValueError(
            f"{blocks} blocks in each of {x.shape[0]} runs; an error needs two blocks or more"
        )
    length = x.shape[1] // blocks
    cut = x[:, : length * blocks].reshape(x.shape[0] * blocks, length, x.shape[2]).mean(axis=1)
    error = cut.std(axis=0, ddof=1) / np.sqrt(len(cut))
    return np.asarray(error[0] if np.ndim(series) == 2 else error)
