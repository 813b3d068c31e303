r"""Averages with errors from independent blocks, and how far they are from what is expected.

A block is the time average of one replica: replicas never meet, so that the spread of the blocks
gives the error whatever the correlation time is. Histograms are compared by Hotelling's
:math:`T^2 = d^T C^{-1} d`, with d the difference in all bins but one and C the covariance of its
mean over blocks, which knows how bins and frames are correlated; with p bins and :math:`\nu`
degrees of freedom of C, :math:`T^2 (\nu - p + 1) / (\nu p)` is distributed as
:math:`F(p, \nu - p + 1)`.
Hotelling, doi:10.1214/aoms/1177732979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, stats

__all__ = [
    "Expected",
    "Histogram",
    "Moments",
    "deviate",
    "expected_largest",
    "family_limit",
    "histogram_test",
    "measured",
    "moments",
    "z_score",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and variance of an observable, with standard errors (0 where they are exact)."""

    mean: float
    mean_error: float = 0.0
    variance: float = math.nan
    variance_error: float = 0.0


@dataclass(frozen=True)
class Histogram:
    """Fractions in bins, and the covariance of their errors over how many blocks.

    Attributes
    ----------
    fractions : (bins,)
    covariance : (bins, bins) or None
        None where they are exact.
    """

    fractions: Array
    covariance: Array | None = None


@dataclass(frozen=True)
class Expected:
    """Known moments and histogram of an observable; None for what is not known."""

    moments: Moments | None = None
    histogram: Histogram | None = None


def moments(first: Array, second: Array) -> Moments:
    """Mean and variance from the averages of v and of v^2 in each block.

    To first order the error of the mean does not enter that of the variance.

    Parameters
    ----------
    first, second : (blocks,)

    Examples
    --------
    >>> result = moments(np.array([1.0, 3.0]), np.array([2.0, 10.0]))
    >>> result.mean, result.variance
    (2.0, 2.0)
    """
    blocks, mean = len(first), float(first.mean())
    squares = second - 2.0 * mean * first + mean**2
    return Moments(
        mean,
        float(first.std(ddof=1)) / math.sqrt(blocks),
        float(squares.mean()),
        float(squares.std(ddof=1)) / math.sqrt(blocks),
    )


def measured(fractions: Array) -> Histogram:
    """From the fractions in each block, (blocks, bins)."""
    return Histogram(fractions.mean(0), np.cov(fractions.T) / len(fractions))


def z_score(
    value: float, error: float, expected: float, expected_error: float, blocks: int
) -> float:
    """Difference in standard errors, as the normal deviate that is as rare as Student's t."""
    t = (value - expected) / math.hypot(error, expected_error)
    return math.copysign(float(stats.norm.isf(stats.t.sf(abs(t), blocks - 1))), t)


def histogram_test(sampled: Histogram, blocks: int, expected: Histogram) -> dict[str, float]:
    """Hotelling's test, with the degrees of freedom of ``blocks`` alone (which is cautious).

    Returns
    -------
    dict
        ``chi2`` (T^2), ``bins`` (p), ``degrees`` (nu - p + 1), ``p_value``.
    """
    covariance = sampled.covariance if sampled.covariance is not None else 0.0
    if expected.covariance is not None:
        covariance = covariance + expected.covariance
    d, c = (sampled.fractions - expected.fractions)[:-1], np.asarray(covariance)[:-1, :-1]
    square = float(d @ np.linalg.solve(c, d))
    p, left = len(d), blocks - len(d)
    value = float(stats.f.sf(square * left / ((blocks - 1) * p), p, left))
    return {"chi2": square, "bins": p, "degrees": left, "p_value": value}


def expected_largest(count: int) -> float:
    """Mean of the largest modulus among so many independent normal deviates."""
    value, _ = integrate.quad(lambda t: 1.0 - (2.0 * stats.norm.cdf(t) - 1.0) ** count, 0.0, 12.0)
    return float(value)


def family_limit(count: int, chance: float = 0.0027) -> float:
    """The modulus that the largest of so many exceeds with the chance of three sigma.

    Examples
    --------
    >>> round(family_limit(1), 3), round(family_limit(100), 2)
    (3.0, 4.2)
    """
    return float(stats.norm.isf(0.5 * -math.expm1(math.log1p(-chance) / count)))


def deviate(p_value: float) -> float:
    """Modulus of the normal deviate that is as rare as a p-value."""
    return float(stats.norm.isf(0.5 * p_value))
