"""Checks of dynamics: closer to the reference than velocity Verlet at several times the cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kstep_training.evaluate.checks import MISS, OPEN, PASS, Check, check_relabelled
from kstep_training.evaluate.energy_and_spectra import BANDS, LIMIT
from kstep_training.evaluate.noise import SIGMA3, estimate

__all__ = ["check_dynamics"]


def check_dynamics(
    name: str,
    row: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
    bar: Mapping[str, Any] | None,
) -> list[Check]:
    """Cost, distance and fluctuation below those of the bar; all else no worse than it or noise.

    Parameters
    ----------
    name : str
        Of the method.
    row, reference, bar : mapping
        Metrics of the method, of the reference, and of the control that it has to beat.
    """
    checks: list[Check] = []
    if bar is not None and "distance" in row:
        checks += _cost(name, row, bar)
        checks += [
            _ratio(name, "trajectory", row["distance"], bar["distance"], "distance in A"),
            _ratio(name, "fluctuation", row["fluctuation"], bar["fluctuation"], "meV/atom"),
        ]
    checks += _drift(name, row, bar or reference)
    checks += _spectrum(name, row, bar)
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
    text = f"times that of the bar ({unit}), start by start; must be below 1 beyond noise"
    if not np.isfinite(a).all():
        return Check("dynamics", name, what, MISS, None, 1.0, f"{text}; a run was lost")
    known = np.isfinite(b)
    if not known.any():
        return Check("dynamics", name, what, OPEN, None, 1.0, f"{text}; the bar was lost")
    log = estimate(np.log(np.maximum(a[known], 1e-300) / np.maximum(b[known], 1e-300)).tolist())
    if log is None:
        return Check("dynamics", name, what, OPEN, None, 1.0, text)
    low, high = log.mean - log.limit, log.mean + log.limit
    status = PASS if high < 0.0 else MISS if low > 0.0 else OPEN
    factor = math.exp(min(log.limit, 50.0)) if math.isfinite(log.limit) else math.inf
    return Check("dynamics", name, what, status, math.exp(log.mean), 1.0,
                 f"{text} (a factor of {factor:.2g} either way)", SIGMA3 / 2.0)  # fmt: skip


def _drift(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    """Check of a figure against the bar, beyond the noise of both; open if that noise hides much.

    Much is a drift that makes the energy deviate over the run, root mean square, by more than that
    of the bar fluctuates; a straight line of height one deviates from its mean by 1 / sqrt(12).
    """
    mine = estimate(row["drift"])
    other = None if bar is None else estimate(bar["drift"])
    if mine is None or not math.isfinite(mine.limit):
        return []
    allowed, status = mine.limit, PASS
    text = "meV/atom/ps, mean over starts; its own noise"
    if bar is not None and other is not None and math.isfinite(other.limit):
        allowed = abs(other.mean) + math.hypot(mine.limit, other.limit)
        text = (
            f"meV/atom/ps, mean over starts, noise {mine.limit:.2g}; that of the bar is "
            f"{other.mean:+.3f}, noise {other.limit:.2g}"
        )
        width = estimate(bar["fluctuation"])
        seen = 0.0 if width is None else math.sqrt(12.0) * width.mean / row["length_ps"]
        if mine.limit > max(seen, abs(other.mean) + other.limit):
            status, text = OPEN, f"{text}; a drift of {seen:.2g} would matter"
    if abs(mine.mean) > allowed:
        status = MISS
    return [Check("dynamics", name, "drift", status, mine.mean, allowed, text, SIGMA3)]


def _spectrum(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    """Shift of each band, start by start; in cells or from other starts the whole spectrum."""
    spectra = row.get("spectra")
    if not spectra:
        return []
    whole = _whole(name, spectra) if "relabelled" in spectra else []
    if whole and not spectra["paired"]:
        return whole
    return whole + [
        _band(name, band, spectra, ((bar or {}).get("spectra") or {}).get(band))
        for band in BANDS
        if band in spectra
    ]


def _whole(name: str, spectra: Mapping[str, Any]) -> list[Check]:
    test, text = spectra["relabelled"], f"the spectra overlap by {spectra['overlap']:.2f}"
    if test is None:
        text += "; too few runs to be told apart"
        return [Check("dynamics", name, "spectrum", OPEN, None, SIGMA3, text)]
    return [check_relabelled("dynamics", name, "spectrum", test, SIGMA3, text)]


def _band(
    name: str, band: str, spectra: Mapping[str, Any], theirs: Mapping[str, Any] | None
) -> Check:
    """No further off than the bar or noise; open if that noise is more than is resolved."""
    shift, noise = spectra[band]["shift"], spectra[band]["noise"]
    if noise is None or not math.isfinite(noise):
        text = "cm^-1; too few runs for a floor"
        return Check("dynamics", name, band, OPEN, shift, None, text)
    size = 0.0
    if theirs is not None:
        size = LIMIT if theirs["shift"] is None else abs(theirs["shift"])
    allowed, source = (size, "the shift of the bar") if size > noise else (noise, "its own noise")
    text = f"shift in cm^-1; {source}"
    if shift is None:
        status, text = MISS, f"{text}; beyond all limits"
    elif abs(shift) > allowed:
        status = MISS
    elif noise > max(size, spectra["resolution"]):
        status, text = OPEN, f"{text}, which is more than the spectra resolve"
    else:
        status = PASS
    return Check("dynamics", name, band, status, shift, allowed, text, SIGMA3 / spectra["bands"])
