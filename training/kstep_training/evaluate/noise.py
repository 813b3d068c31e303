"""The noise floor: independent runs, standard errors, distances between like sets of runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from kstep_integrators.diagnostics import momentum_alignment
from kstep_integrators.mechanics.degrees_of_freedom import degrees_of_freedom
from kstep_training.evaluate.record import Record

__all__ = [
    "SIGMA3",
    "Estimate",
    "block_records",
    "estimate",
    "floor_of_halves",
    "independence",
    "quantile",
    "t_limit",
    "written",
]

T = TypeVar("T")

SIGMA3 = 0.0027
"""Probability of a normal deviation beyond three standard errors, on both sides."""

BLOCKS = 8
"""Independent units that a comparison has at least, if runs can be cut into so many."""

SPLITS = 12


@dataclass(frozen=True)
class Estimate:
    """A mean over independent runs.

    Attributes
    ----------
    mean : float
    error : float
        Standard error; NaN of one run.
    count : int
    """

    mean: float
    error: float
    count: int

    @property
    def limit(self) -> float:
        """Half width of the interval that holds the truth as surely as three sigma."""
        return t_limit(self.count) * self.error


@functools.cache
def t_limit(count: int, tests: int = 1) -> float:
    """Number of standard errors that a mean stays within, as surely as three sigma.

    Parameters
    ----------
    count : int
        Values in the mean; Student's t.
    tests : int
        Means of which all are to stay within, as surely as one (Bonferroni).

    Examples
    --------
    >>> round(t_limit(8), 2), round(t_limit(10_000), 2)
    (4.53, 3.0)
    """
    return float(stats.t.isf(SIGMA3 / 2.0 / tests, count - 1)) if count > 1 else math.inf


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and standard error of the finite values; None without any.

    Examples
    --------
    >>> known = estimate([1.0, 2.0, 3.0])
    >>> known.mean, round(known.error, 3), known.count
    (2.0, 0.577, 3)
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not len(x):
        return None
    error = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else math.nan
    return Estimate(float(x.mean()), error, len(x))


def quantile(values: Sequence[float], q: float) -> float | None:
    """Quantile of values that may be infinite; None where it is infinite itself."""
    with np.errstate(invalid="ignore"):
        value = float(np.quantile(values, q))
    return value if math.isfinite(value) else None


def written(known: Estimate | None) -> dict[str, Any] | None:
    """An estimate for JSON."""
    if known is None:
        return None
    return {**asdict(known), "limit": known.limit}


def floor_of_halves(
    items: Sequence[T], differ: Callable[[Sequence[T], Sequence[T]], float | None]
) -> float | None:
    """Difference of two sets of like runs, each as large as the given one; root mean square.

    Random halves of one set are twice as noisy, in variance, as two whole sets.

    Parameters
    ----------
    items : sequence
        Independent runs.
    differ : callable
        Difference of two sets, or None where it cannot be taken.

    Returns
    -------
    float or None
        None of fewer than four runs.
    """
    if len(items) < 4:
        return None
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(SPLITS):
        order = rng.permutation(len(items))
        half = len(items) // 2
        first, second = ([items[i] for i in part] for part in (order[:half], order[half:]))
        value = differ(first, second)
        if value is not None:
            differences.append(value)
    if not differences:
        return None
    return float(np.sqrt(np.mean(np.square(differences)) / 2.0))


def block_records(records: Sequence[Record], least: int = BLOCKS) -> list[Record]:
    """Runs as units of comparison: as they are if there are enough of them, else cut into blocks.

    Blocks of one run are taken as independent, which holds if they are longer than its memory.
    """
    parts = -(-least // len(records))
    blocks = []
    for record in records:
        count = max(1, min(parts, len(record) // 4))
        length = len(record) // count
        for b in range(count):
            cut = slice(b * length, (b + 1) * length)
            cell = record.cell if record.cell.ndim == 2 else record.cell[cut]
            blocks.append(
                replace(
                    record, time=record.time[cut], positions=record.positions[cut],
                    momenta=record.momenta[cut], energies=record.energies[cut], cell=cell,
                )
            )  # fmt: skip
    return blocks


def independence(runs: Sequence[Record], conserved: bool) -> dict[str, Any] | None:
    """The most alike pair of runs, at their starts or ends; None without momenta."""
    whole = [r for r in runs if r.whole and np.isfinite(r.momenta[[0, -1]]).all()]
    if len(whole) < 2:
        return None
    conserved = conserved and not whole[0].fixed.any()
    degrees = degrees_of_freedom(
        len(whole[0].numbers),
        constraints=3 * int(whole[0].fixed.sum()),
        momentum_conserved=conserved,
        angular_momentum_conserved=conserved and not any(whole[0].pbc),
    )
    if degrees < 2:
        return None
    ends = [
        momentum_alignment([r.momenta[frame] for r in whole], whole[0].masses, degrees)
        for frame in (0, -1)
    ]
    worst = min(ends, key=lambda pair: pair.p_value)
    return {**asdict(worst), "p_value": min(1.0, 2.0 * worst.p_value)}
