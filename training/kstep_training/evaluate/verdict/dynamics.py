"""Whether dynamics is closer to the reference than velocity Verlet at several times the cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kstep_training.evaluate.noise import SIGMA3, estimate
from kstep_training.evaluate.verdict.check import MISS, OPEN, PASS, Check
from kstep_training.evaluate.verdict.samples import check_relabelled
from kstep_training.evaluate.verdict.spectrum import check_spectrum

__all__ = ["check_dynamics"]


def check_dynamics(
    name: str,
    row: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
    bar: Mapping[str, Any] | None,
) -> list[Check]:
    """Cost, distance and fluctuation below those of the bar; all else no worse than it or noise."""
    checks: list[Check] = []
    if bar is not None and "distance" in row:
        checks += _cost(name, row, bar)
        checks += [
            _ratio(name, "trajectory", row["distance"], bar["distance"], "distance in A"),
            _ratio(name, "fluctuation", row["fluctuation"], bar["fluctuation"], "meV/atom"),
        ]
    checks += _drift(name, row, bar or reference)
    checks += check_spectrum(name, row, bar)
    checks += _radial(name, row)
    return checks


def _cost(name: str, row: Mapping[str, Any], bar: Mapping[str, Any]) -> list[Check]:
    if not (row["cost"] and bar["cost"]):
        return []
    ratio = row["cost"]["evaluations"] / bar["cost"]["evaluations"]
    return [
        Check("dynamics", name, "cost", PASS if ratio < 1.0 else MISS, ratio, 1.0,
              "times the evaluations of the bar in the same time; must be below 1")
    ]  # fmt: skip


def _ratio(name: str, what: str, mine: Sequence[float], bar: Sequence[float], unit: str) -> Check:
    """Mean ratio to the bar, start by start."""
    a, b = np.asarray(mine, dtype=np.float64), np.asarray(bar, dtype=np.float64)
    words = f"times that of the bar ({unit}), start by start; must be below 1 beyond noise"
    if not np.isfinite(a).all():
        return Check("dynamics", name, what, MISS, None, 1.0, f"{words}; a run was lost")
    known = np.isfinite(b)
    if not known.any():
        return Check("dynamics", name, what, OPEN, None, 1.0, f"{words}; the bar was lost")
    found = estimate(np.log(np.maximum(a[known], 1e-300) / np.maximum(b[known], 1e-300)).tolist())
    if found is None:
        return Check("dynamics", name, what, OPEN, None, 1.0, words)
    low, high = found.mean - found.limit, found.mean + found.limit
    status = PASS if high < 0.0 else MISS if low > 0.0 else OPEN
    factor = math.exp(min(found.limit, 50.0)) if math.isfinite(found.limit) else math.inf
    return Check("dynamics", name, what, status, math.exp(found.mean), 1.0,
                 f"{words} (a factor of {factor:.2g} either way)", SIGMA3 / 2.0)  # fmt: skip


def _drift(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    """Not larger than that of the bar, beyond the noise of both; open if that noise hides much.

    Much is a drift that makes the energy deviate over the run, root mean square, by more than that
    of the bar fluctuates; a straight line of height one deviates from its mean by 1 / sqrt(12).
    """
    mine = estimate(row["drift"])
    other = None if bar is None else estimate(bar["drift"])
    if mine is None or not math.isfinite(mine.limit):
        return []
    allowed, status = mine.limit, PASS
    words = "meV/atom/ps, mean over starts; its own noise"
    if bar is not None and other is not None and math.isfinite(other.limit):
        allowed = abs(other.mean) + math.hypot(mine.limit, other.limit)
        words = (
            f"meV/atom/ps, mean over starts, noise {mine.limit:.2g}; that of the bar is "
            f"{other.mean:+.3f}, noise {other.limit:.2g}"
        )
        width = estimate(bar["fluctuation"])
        seen = 0.0 if width is None else math.sqrt(12.0) * width.mean / row["picoseconds"]
        if mine.limit > max(seen, abs(other.mean) + other.limit):
            status, words = OPEN, f"{words}; a drift of {seen:.2g} would matter"
    if abs(mine.mean) > allowed:
        status = MISS
    return [Check("dynamics", name, "drift", status, mine.mean, allowed, words, SIGMA3)]


def _radial(name: str, row: Mapping[str, Any]) -> list[Check]:
    """Radial distributions of each pair of elements, by relabelling runs."""
    pairs = row.get("radial") or {}
    limit = SIGMA3 / max(len(pairs), 1)
    return [
        check_relabelled(
            "dynamics", name, f"g(r) {pair}", found, limit,
            f"mean deviation {found['distance']:.3f}, between like runs {found['floor']:.3f}",
        )
        for pair, found in pairs.items()
    ]  # fmt: skip
