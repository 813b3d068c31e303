"""Whether references can be trusted, and whether runs are independent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kstep_training.evaluate.verdict.check import MISS, OPEN, PASS, Check

__all__ = ["check_independence", "check_reference"]

SEEDS = 8
"""Runs below which nothing counts as settled."""
ALIKE = 1e-4
"""Probability below which runs are not taken as independent any more."""


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
    return checks + check_independence("references", name, row)


def check_independence(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """The most alike pair of runs, at their starts and ends; the probability is of the worst."""
    found = row.get("independence")
    if found is None:
        return []
    return [
        Check(promise, name, "independent seeds", PASS if found["p_value"] >= ALIKE else MISS,
              found["p_value"], ALIKE,
              f"probability of momenta as alike as those of runs {found['pair'][0]} and "
              f"{found['pair'][1]} (cosine {found['cosine']:.3f})", ALIKE)
    ]  # fmt: skip
