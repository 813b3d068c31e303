"""Verdicts: for each molecule, method and promise, pass, miss or open, by how much and why.

Three promises (README): dynamics closer to the reference than velocity Verlet at several times the
cost; the ensemble of the physics under a Metropolis test; never silently wrong. No threshold is a
matter of taste: each is the noise of the runs at three standard errors, the distance of a control,
or the exactness of a count. Where several things of a kind are looked at (elements, bands,
distributions, pairs of runs), the limit is that of one divided by their number (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kstep_training.evaluate.plan import REFERENCE, THERMAL
from kstep_training.evaluate.verdict.check import MISS, OPEN, PASS, PROMISES, Check, overall
from kstep_training.evaluate.verdict.dynamics import check_dynamics
from kstep_training.evaluate.verdict.honesty import check_honesty
from kstep_training.evaluate.verdict.references import check_reference
from kstep_training.evaluate.verdict.samples import (
    check_bonds,
    check_complete,
    check_equipartition,
    check_shapes,
)

__all__ = ["MISS", "OPEN", "PASS", "PROMISES", "Check", "check_molecule", "overall"]


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
        checks += check_bonds(row["part"], name, row, origin)
        checks += check_honesty(name, row)
    return checks
