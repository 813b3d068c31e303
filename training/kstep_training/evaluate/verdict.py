"""Verdicts: for each molecule, method and promise, pass, miss or open, by how much and why.

Three promises (README): dynamics closer to the reference than velocity Verlet at several times the
cost; the ensemble of the physics under a Metropolis test; never silently wrong. No threshold is a
matter of taste: each is the noise of the runs at three standard errors, the distance of a control,
or the exactness of a count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kstep_training.evaluate.motion import BANDS, LIMIT
from kstep_training.evaluate.noise import SIGMA3, estimate
from kstep_training.evaluate.plan import REFERENCE, THERMAL

__all__ = ["MISS", "OPEN", "PASS", "PROMISES", "Check", "check_molecule", "overall"]

PASS, MISS, OPEN = "pass", "miss", "open"

PROMISES = {
    "dynamics": "Dynamics closer to the reference than velocity Verlet at several times the cost",
    "ensemble": "The ensemble of the physics, exactly, under a Metropolis test",
    "honesty": "Never silently wrong: what a run reports is what is measured",
    "references": "References that can be trusted: independent, and enough of them",
}

SEEDS = 8
"""Runs below which nothing counts as settled."""
ALIKE = 1e-4
"""Probability below which runs are not taken as independent any more."""
ENERGY_TOLERANCE = 1e-3
"""eV, between a reported energy and that of a fresh calculator, whose SCF starts from nothing."""
SAMPLES_EACH = 4.0
"""Effective samples of the energy in each run below which a distribution tells nothing."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes
    ----------
    promise : str
        A key of :data:`PROMISES`.
    method : str
    what : str
    status : {"pass", "miss", "open"}
        ``open``: within noise, or too little was run to tell.
    value, limit : float or None
        What was found, and where the verdict turns.
    words : str
        Units, and where the limit is from.
    """

    promise: str
    method: str
    what: str
    status: str
    value: float | None
    limit: float | None
    words: str


def overall(checks: Sequence[Check]) -> str:
    """One miss is a miss; without one, anything open leaves the whole open."""
    statuses = {check.status for check in checks}
    return MISS if MISS in statuses else OPEN if OPEN in statuses or not statuses else PASS


def check_molecule(metrics: Mapping[str, Any], bar: str | None) -> list[Check]:
    """All checks of one molecule.

    Parameters
    ----------
    metrics : mapping
        From :func:`~kstep_training.evaluate.metrics.molecule_metrics`.
    bar : str or None
        Name of the control that dynamics has to beat; None if there is none.
    """
    methods = metrics["methods"]
    checks: list[Check] = []
    for name, row in methods.items():
        if row["role"] == "reference":
            checks += _references(name, row)
        if row["role"] != "test":
            continue
        if row["part"] == "dynamics":
            checks += _dynamics(name, row, methods.get(REFERENCE), methods.get(bar))
        else:
            checks += _ensemble(name, row, methods.get(THERMAL))
        checks += _honesty(name, row)
    return checks


def _references(name: str, row: Mapping[str, Any]) -> list[Check]:
    count, lost = row["runs"], len(row["lost"])
    checks = [
        Check("references", name, "enough runs", PASS if count - lost >= SEEDS else OPEN,
              count - lost, SEEDS, "runs that came to their end; fewer cannot be told from noise")
    ]  # fmt: skip
    if lost:
        checks.append(
            Check("references", name, "complete", MISS, lost, 0, f"runs lost: {row['lost'][0]}")
        )
    checks += _independent("references", name, row)
    return checks


def _independent(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    found = row.get("independence")
    if found is None:
        return []
    return [
        Check(promise, name, "independent seeds", PASS if found["p_value"] >= ALIKE else MISS,
              found["p_value"], ALIKE,
              f"probability of momenta as alike as those of runs {found['pair'][0]} and "
              f"{found['pair'][1]} (cosine {found['cosine']:.3f})")
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
                 f"{words} (a factor of {factor:.2g} either way)")  # fmt: skip


def _dynamics(
    name: str,
    row: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
    bar: Mapping[str, Any] | None,
) -> list[Check]:
    lost = len(row["lost"])
    checks = [
        Check("dynamics", name, "complete", MISS if lost else PASS, lost, 0,
              f"runs lost of {row['runs']}" + (f": {row['lost'][0]}" if lost else ""))
    ]  # fmt: skip
    if bar is not None and "distance" in row:
        checks += [
            _ratio(name, "trajectory", row["distance"], bar["distance"], "distance in A"),
            _ratio(name, "fluctuation", row["fluctuation"], bar["fluctuation"], "meV/atom"),
        ]
    checks += _drift(name, row, bar or reference)
    checks += _spectrum(name, row, bar)
    checks += _equipartition(name, row)
    checks += _shapes("dynamics", name, row)
    checks += _bonds("dynamics", name, row, reference)
    for pair, found in (row.get("radial") or {}).items():
        floor = found["floor"]
        status = OPEN if floor is None else PASS if found["rms"] <= 3.0 * floor else MISS
        limit = None if floor is None else 3.0 * floor
        words = "rms deviation; 3 x that between like sets of reference blocks"
        checks.append(Check("dynamics", name, f"g(r) {pair}", status, found["rms"], limit, words))
    return checks


def _drift(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    """Not larger than that of the bar, beyond the noise of both."""
    mine = estimate(row["drift"])
    other = None if bar is None else estimate(bar["drift"])
    if mine is None or not math.isfinite(mine.limit):
        return []
    allowed = mine.limit
    words = "meV/atom/ps, mean over starts; more than its own noise"
    if other is not None and math.isfinite(other.limit):
        allowed = math.hypot(mine.limit, other.limit) + abs(other.mean)
        words = (
            f"meV/atom/ps, mean over starts; more than that of the bar, {other.mean:+.3f}, and "
            "the noise of both"
        )
    return [
        Check("dynamics", name, "drift", PASS if abs(mine.mean) <= allowed else MISS,
              mine.mean, allowed, words)
    ]  # fmt: skip


def _spectrum(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    spectra = row.get("spectra")
    if not spectra:
        return []
    if "p_value" in spectra:
        value = spectra["p_value"]
        status = OPEN if value is None else PASS if value > SIGMA3 else MISS
        words = f"p-value, relabelling runs; the spectra overlap by {spectra['overlap']:.2f}"
        return [Check("dynamics", name, "spectrum", status, value, SIGMA3, words)]
    checks = []
    for band in BANDS:
        if band not in spectra:
            continue
        shift, noise = spectra[band]["shift"], spectra[band]["noise"]
        if noise is None or not math.isfinite(noise):
            checks.append(
                Check("dynamics", name, band, OPEN, shift, None, "cm^-1; too few runs for a floor")
            )
            continue
        allowed, source = noise, "the noise of the shift"
        theirs = ((bar or {}).get("spectra") or {}).get(band)
        if theirs is not None:
            size = LIMIT if theirs["shift"] is None else abs(theirs["shift"])
            if size > allowed:
                allowed, source = size, "the shift of the bar"
        good = shift is not None and abs(shift) <= allowed
        words = f"shift in cm^-1; {source}" + ("" if shift is not None else "; beyond all limits")
        checks.append(Check("dynamics", name, band, PASS if good else MISS, shift, allowed, words))
    return checks


def _equipartition(name: str, row: Mapping[str, Any]) -> list[Check]:
    rows = {e: t for e, t in row.get("temperature", {}).items() if t and t["count"] > 1}
    if not rows:
        return []
    element, worst = max(rows.items(), key=lambda item: abs(item[1]["mean"]) / item[1]["limit"])
    good = abs(worst["mean"]) <= worst["limit"]
    return [
        Check("dynamics", name, "equipartition", PASS if good else MISS, worst["mean"],
              worst["limit"], f"K, of {element}, from the reference; the noise of the runs")
    ]  # fmt: skip


def _shapes(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    shapes = row.get("shapes") or {}
    limit = SIGMA3 / max(len(shapes), 1)
    known = row.get("energy_samples") or {"effective": 0.0 if promise == "ensemble" else math.inf}
    samples = known["effective"]
    checks = []
    for kind, found in shapes.items():
        status = PASS if found["p_value"] > limit else MISS
        words = (
            f"p-value, relabelling runs; distance {found['distance']:.3f}, between like runs "
            f"{found['noise_floor']:.3f}"
        )
        if math.comb(sum(found["runs"]), found["runs"][0]) * limit < 1.0:
            status, words = OPEN, f"{words}; too few runs to be told apart"
        elif samples < SAMPLES_EACH * row["runs"]:
            status, words = OPEN, f"{words}; only {samples:.0f} effective samples of the energy"
        checks.append(Check(promise, name, kind, status, found["p_value"], limit, words))
    return checks


def _bonds(
    promise: str, name: str, row: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> list[Check]:
    broken = row.get("broken") or {}
    known = (reference or {}).get("broken") or {}
    worse = len(broken) > len(known)
    words = "runs with a broken bond; as many as in the reference"
    if broken:
        words += f" (first: {next(iter(broken.values()))[0]})"
    return [
        Check(promise, name, "intact bonds", MISS if worse else PASS, len(broken), len(known),
              words)
    ]  # fmt: skip


def _ensemble(
    name: str, row: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> list[Check]:
    lost = len(row["lost"])
    checks = [
        Check("ensemble", name, "complete", MISS if lost else PASS, lost, 0,
              f"runs lost of {row['runs']}" + (f": {row['lost'][0]}" if lost else ""))
    ]  # fmt: skip
    checks += _shapes("ensemble", name, row)
    checks += _bonds("ensemble", name, row, reference)
    return checks


def _honesty(name: str, row: Mapping[str, Any]) -> list[Check]:
    reported = row["reported"]
    checks = []
    counts = [pair for pair in reported["evaluations"] if None not in pair]
    if counts:
        off = max((abs(a - b) for a, b in counts), default=0)
        checks.append(
            Check("honesty", name, "evaluations", MISS if off else PASS, off, 0,
                  "between the evaluations reported and those counted inside the calculator")
        )  # fmt: skip
    if "energy_deviation_eV" in reported:
        value = 1e3 * reported["energy_deviation_eV"]
        limit = 1e3 * ENERGY_TOLERANCE
        checks.append(
            Check("honesty", name, "energies", PASS if value <= limit else MISS, value, limit,
                  f"meV, largest of {reported['energy_checks']} reported energies against fresh "
                  "calculators")
        )  # fmt: skip
    for fact, what in (("residual_rms", "residual"), ("energy_error", "predicted energies")):
        factor = reported.get(f"{fact}_factor")
        if factor:
            good = abs(factor["mean"]) <= factor["limit"]
            checks.append(
                Check("honesty", name, what, PASS if good else MISS, math.exp(factor["mean"]),
                      math.exp(factor["limit"]), "times the reported one is what fresh "
                      "calculators measure at some landings, root mean square; the noise of the "
                      "sample, as a factor either way")
            )  # fmt: skip
    silent = [
        gone
        for seed, gone in (row.get("broken") or {}).items()
        if not reported["bond_changes"][int(seed)]
    ]
    if "broken" in row:
        checks.append(
            Check("honesty", name, "broken bonds told", MISS if silent else PASS, len(silent), 0,
                  "runs with a broken bond that they did not report"
                  + (f" ({silent[0][0]})" if silent else ""))
        )  # fmt: skip
    return checks + _independent("honesty", name, row)
