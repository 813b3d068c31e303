"""Verdicts: for each molecule, method and promise, pass, miss or open, by how much and why.

Three promises (README): dynamics closer to the reference than velocity Verlet at several times the
cost; the ensemble of the physics under a Metropolis test; never silently wrong. No threshold is a
matter of taste: each is the noise of the runs at three standard errors, the distance of a control,
or the exactness of a count. Where several things of a kind are looked at (elements, bands,
distributions, pairs of runs), the limit is that of one divided by their number (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kstep_training.evaluate.checks import (
    MISS,
    OPEN,
    PASS,
    Check,
    check_bonds,
    check_complete,
    check_curves,
    check_equipartition,
    check_pressure,
    check_shapes,
)
from kstep_training.evaluate.dynamics_checks import check_dynamics
from kstep_training.evaluate.noise import SIGMA3
from kstep_training.evaluate.plan import REFERENCE, THERMAL

__all__ = ["check_molecule"]

SEEDS = 8
"""Runs below which nothing counts as settled."""
ALIKE = 1e-4
"""Probability below which runs are not taken as independent any more."""
ENERGY_TOLERANCE = 1e-3
"""eV, between a reported energy and that of a fresh calculator, whose SCF starts from nothing."""


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
            checks += check_reference(name, row)
        if row["role"] != "test":
            continue
        origin = methods.get(REFERENCE if row["part"] == "dynamics" else THERMAL)
        checks += check_complete(row["part"], name, row)
        if row["part"] == "dynamics":
            checks += check_dynamics(name, row, origin, methods.get(bar))
        checks += check_equipartition(row["part"], name, row)
        checks += check_shapes(row["part"], name, row)
        checks += check_curves(row["part"], name, row)
        checks += check_pressure(row["part"], name, row)
        checks += check_bonds(row["part"], name, row, origin)
        checks += check_honesty(name, row)
    return checks


def check_reference(name: str, row: Mapping[str, Any]) -> list[Check]:
    """Enough runs, all complete, none like another."""
    count, lost = row["runs"], len(row["lost"])
    checks = [
        Check("references", name, "enough runs", PASS if count - lost >= SEEDS else OPEN,
              count - lost, SEEDS, "runs that came to their end; fewer cannot be told from noise")
    ]  # fmt: skip
    if lost:
        checks.append(
            Check("references", name, "complete", MISS, lost, 0, f"runs lost: {row['lost'][0]}")
        )
    return checks + _independence("references", name, row)


def check_honesty(name: str, row: Mapping[str, Any]) -> list[Check]:
    """Reports of runs against measurements: evaluations, energies, residuals, broken bonds."""
    checks = [*_evaluations(name, row), *_energies(name, row["reported"])]
    for fact, what in (
        ("residual_rms", "residual"),
        ("energy_error", "predicted energies"),
        ("estimate_error", "estimated energies"),
    ):
        factor = row["reported"].get(f"{fact}_factor")
        if factor:
            good = abs(factor["mean"]) <= factor["limit"]
            checks.append(
                Check("honesty", name, what, PASS if good else MISS, math.exp(factor["mean"]),
                      math.exp(factor["limit"]), "times the reported one is what fresh "
                      "calculators measure at some landings, root mean square; the noise of the "
                      "sample, as a factor either way", SIGMA3)
            )  # fmt: skip
    if "broken" in row:
        reported = row["reported"]["bond_changes"]
        silent = [bonds for seed, bonds in row["broken"].items() if not reported[int(seed)]]
        checks.append(
            Check("honesty", name, "broken bonds reported", MISS if silent else PASS, len(silent),
                  0, "runs with a broken bond that they did not report"
                  + (f" ({silent[0][0]})" if silent else ""))
        )  # fmt: skip
    return checks + _independence("honesty", name, row)


def _evaluations(name: str, row: Mapping[str, Any]) -> list[Check]:
    """As reported, and no more than one for each stride."""
    counts = [pair for pair in row["reported"]["evaluations"] if None not in pair]
    checks = []
    if counts:
        off = max(abs(a - b) for a, b in counts)
        checks.append(
            Check("honesty", name, "evaluations", MISS if off else PASS, off, 0,
                  "between the evaluations reported and those counted inside the calculator")
        )  # fmt: skip
    extra = row["reported"].get("extra_evaluations")
    if extra is not None:
        checks.append(
            Check("honesty", name, "one evaluation each", MISS if extra else PASS, extra, 0,
                  "evaluations counted, beyond one at the start and one for each stride; of runs "
                  "without fallbacks")
        )  # fmt: skip
    return checks


def _energies(name: str, reported: Mapping[str, Any]) -> list[Check]:
    if "energy_deviation_eV" not in reported:
        return []
    value, limit = 1e3 * reported["energy_deviation_eV"], 1e3 * ENERGY_TOLERANCE
    return [
        Check("honesty", name, "energies", PASS if value <= limit else MISS, value, limit,
              f"meV, largest of {reported['energy_checks']} reported energies against fresh "
              "calculators")
    ]  # fmt: skip


def _independence(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """The most alike pair of runs, at their starts and ends; the probability is of the worst."""
    pair = row.get("independence")
    if pair is None:
        return []
    return [
        Check(promise, name, "independent seeds", PASS if pair["p_value"] >= ALIKE else MISS,
              pair["p_value"], ALIKE,
              f"probability of momenta as alike as those of runs {pair['pair'][0]} and "
              f"{pair['pair'][1]} (cosine {pair['cosine']:.3f})", ALIKE)
    ]  # fmt: skip
