"""Whether what a run reports is what is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kstep_training.evaluate.noise import SIGMA3
from kstep_training.evaluate.verdict.check import MISS, PASS, Check
from kstep_training.evaluate.verdict.references import check_independence

__all__ = ["check_honesty"]

ENERGY_TOLERANCE = 1e-3
"""eV, between a reported energy and that of a fresh calculator, whose SCF starts from nothing."""


def check_honesty(name: str, row: Mapping[str, Any]) -> list[Check]:
    """Evaluations, energies, residuals, predicted energies, broken bonds, independence."""
    checks = [*_evaluations(name, row), *_energies(name, row["reported"])]
    for fact, what in (("residual_rms", "residual"), ("energy_error", "predicted energies")):
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
        told = row["reported"]["bond_changes"]
        silent = [gone for seed, gone in row["broken"].items() if not told[int(seed)]]
        checks.append(
            Check("honesty", name, "broken bonds told", MISS if silent else PASS, len(silent), 0,
                  "runs with a broken bond that they did not report"
                  + (f" ({silent[0][0]})" if silent else ""))
        )  # fmt: skip
    return checks + check_independence("honesty", name, row)


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
