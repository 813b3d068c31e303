"""Comparison of two sets of independent runs: of distributions, or of a curve from each run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Comparison", "CurveComparison", "compare_curves", "compare_runs"]

Array = NDArray[np.float64]

BINS = 400


@dataclass(frozen=True)
class Comparison:
    """Comparison of two sets of runs, Q quantities.

    Attributes
    ----------
    distance : (Q,) numpy.ndarray
        Wasserstein distance of order one between the two distributions of each quantity: the part
        to be moved, times the way, in standard deviations of the quantity, or in radians on a
        circle.
    floor : (Q,) numpy.ndarray
        The same, on average over relabelled runs: what sets of this size and memory show if there
        is no difference.
    p_value : float
        Part of the relabellings whose distance, averaged over the quantities, is as large.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = [rng.normal(0.0, 1.0, 200) for _ in range(4)]
    >>> second = [rng.normal(3.0, 1.0, 200) for _ in range(4)]
    >>> different = compare_runs(first, second)
    >>> bool(different.distance[0] > 2 * different.floor[0])
    True
    """

    distance: Array
    floor: Array
    p_value: float


def compare_runs(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    circular: bool = False,
    permutations: int = 9_999,
    rng: np.random.Generator | None = None,
) -> Comparison:
    """Permutation test with whole runs as the units.

    Frames of a run are correlated, runs are not: exchanging runs between the sets needs no
    correlation time. All relabellings are tried if they are no more than ``permutations``, else
    that many random ones. The test is exact if the runs of both sets have the same law. Where they
    differ in length or memory, give both sets the same number of runs: then it holds approximately.

    Parameters
    ----------
    first, second : sequence of array_like
        One array for each run, (F,) or (F, Q) for Q quantities; runs may differ in length, and
        each counts the same.
    circular : bool
        Whether the quantities are angles in radians, which are compared around the circle
        (Rabin, Delon & Gousseau, doi:10.1007/s10851-011-0284-0).
    permutations : int
    rng : numpy.random.Generator, optional
        For random relabellings; of seed 0 by default.

    Raises
    ------
    ValueError
        If a set has fewer than two runs, shapes do not fit, values are not finite or a quantity is
        constant.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = [rng.normal(0.0, 1.0, 200) for _ in range(4)]
    >>> second = [rng.normal(3.0, 1.0, 200) for _ in range(4)]
    >>> round(compare_runs(first, second).p_value, 3)  # 2 of the 70 relabellings
    0.029
    """
    runs = [_frames(run) for run in (*first, *second)]
    if len(first) < 2 or len(second) < 2:
        raise ValueError(
            f"{len(first)} and {len(second)} runs; a comparison needs two or more in each set"
        )
    if len({run.shape[1] for run in runs}) != 1:
        raise ValueError(
            f"the runs have {sorted({run.shape[1] for run in runs})} quantities; expected as many "
            "in each"
        )
    labels = _labels(len(first), len(second), permutations, rng or np.random.default_rng(0))
    sign = labels / len(first) - (1.0 - labels) / len(second)
    distances = np.stack(
        [_distances(sign, [run[:, q] for run in runs], circular) for q in range(runs[0].shape[1])]
    )
    mean = distances.mean(axis=0)
    # The first labelling is the one that was given.
    as_large = mean >= mean[0] * (1.0 - 1e-9)
    return Comparison(
        distance=distances[:, 0],
        floor=distances[:, 1:].mean(axis=1),
        p_value=float(as_large.mean()),
    )


@dataclass(frozen=True)
class CurveComparison:
    """Comparison of two sets of curves.

    Attributes
    ----------
    distance : float
        Mean absolute difference between the averages of both sets.
    floor : float
        The same, on average over relabelled runs.
    p_value : float
        Part of the relabellings whose distance is as large.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(0.0, 0.1, (4, 50))
    >>> second = rng.normal(1.0, 0.1, (4, 50))
    >>> different = compare_curves(first, second)
    >>> round(different.distance, 1)
    1.0
    """

    distance: float
    floor: float
    p_value: float


def compare_curves(
    first: ArrayLike,
    second: ArrayLike,
    permutations: int = 9_999,
    rng: np.random.Generator | None = None,
) -> CurveComparison:
    """Permutation test of curves, one of each run: spectra, radial distributions.

    Parameters
    ----------
    first, second : array_like
        Shapes (R, K) and (S, K), one row for each run.
    permutations : int
        See :func:`compare_runs`.
    rng : numpy.random.Generator, optional

    Raises
    ------
    ValueError
        If a set has fewer than two curves, lengths differ, or values are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = rng.normal(0.0, 0.1, (4, 50))
    >>> second = rng.normal(1.0, 0.1, (4, 50))
    >>> round(compare_curves(first, second).p_value, 3)  # 2 of the 70 relabellings
    0.029
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"the curves have shapes {a.shape} and {b.shape}; expected two rows or more in each, "
            "of one length"
        )
    curves = np.concatenate([a, b])
    if not np.isfinite(curves).all():
        raise ValueError("a curve has values that are not finite; leave out runs that blew up")
    labels = _labels(len(a), len(b), permutations, rng or np.random.default_rng(0))
    sign = labels / len(a) - (1.0 - labels) / len(b)
    # In parts: all relabellings of long curves do not fit into memory.
    parts = np.array_split(sign, -(-len(sign) // 500))
    apart = np.concatenate([np.abs(part @ curves).mean(axis=1) for part in parts])
    return CurveComparison(
        distance=float(apart[0]),
        floor=float(apart[1:].mean()),
        p_value=float((apart >= apart[0] * (1.0 - 1e-9)).mean()),
    )


def _frames(run: ArrayLike) -> Array:
    x = np.asarray(run, dtype=np.float64)
    if x.ndim not in (1, 2) or x.size == 0:
        raise ValueError(f"a run has shape {x.shape}; expected (frames,) or (frames, quantities)")
    if not np.isfinite(x).all():
        raise ValueError("a run has values that are not finite; leave out runs that blew up")
    return x if x.ndim == 2 else x[:, None]


def _labels(first: int, second: int, permutations: int, rng: np.random.Generator) -> Array:
    """Rows of 1 (first set) and 0 (second), the given ones in the first row."""
    total = first + second
    if math.comb(total, first) - 1 <= permutations:
        chosen = np.array(list(itertools.combinations(range(total), first)))
    else:
        order = np.argsort(rng.random((permutations, total)), axis=1)
        chosen = np.concatenate([np.arange(first)[None], order[:, :first]])
    labels = np.zeros((len(chosen), total))
    np.put_along_axis(labels, chosen, 1.0, axis=1)
    return labels


def _distances(sign: Array, runs: list[Array], circular: bool) -> Array:
    """Wasserstein distances of one quantity for each labelling."""
    if circular:
        runs = [np.mod(run, 2.0 * np.pi) for run in runs]
        edges, unit = np.linspace(0.0, 2.0 * np.pi, BINS + 1), 1.0
    else:
        pooled = np.concatenate(runs)
        low, high, unit = float(pooled.min()), float(pooled.max()), float(pooled.std())
        if not high > low:
            raise ValueError(f"a quantity is {low} in all frames; there is nothing to compare")
        edges = np.linspace(low, high, BINS + 1)
    below = np.stack([np.cumsum(np.histogram(run, edges)[0]) / len(run) for run in runs])
    difference = sign @ below
    if circular:
        # The best place to cut the circle open.
        difference = difference - np.median(difference, axis=1, keepdims=True)
    return np.asarray(np.abs(difference).sum(axis=1) * (edges[1] - edges[0]) / unit)
