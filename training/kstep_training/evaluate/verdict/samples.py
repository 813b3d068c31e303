"""What holds of runs as samples: complete, whole bonds, the right distributions, temperatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import fisher_exact

from kstep_training.evaluate.noise import SIGMA3, t_limit
from kstep_training.evaluate.verdict.check import MISS, OPEN, PASS, Check

__all__ = [
    "check_bonds",
    "check_complete",
    "check_equipartition",
    "check_relabelled",
    "check_shapes",
]

SAMPLES_EACH = 4.0
"""Effective samples of the energy in each run below which a distribution tells nothing."""


def check_relabelled(
    promise: str,
    name: str,
    what: str,
    found: Mapping[str, Any],
    limit: float,
    words: str,
    little: str = "",
) -> Check:
    """A p-value by relabelling runs; open where too little was run, for the reason given.

    Parameters
    ----------
    promise, name, what : str
    found : mapping
        ``p_value``, and ``runs`` of both sides.
    limit : float
    words : str
        What else is worth knowing.
    little : str
        Why nothing can be told; nothing if it can.
    """
    runs = found["runs"]
    if math.comb(sum(runs), runs[0]) * limit < 1.0:
        # No relabelling of so many runs could be as rare as the limit.
        little = "too few runs to be told apart"
    status = OPEN if little else PASS if found["p_value"] > limit else MISS
    told = "; ".join(part for part in ("p-value, relabelling runs", words, little) if part)
    return Check(promise, name, what, status, found["p_value"], limit, told, limit)


def check_complete(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Every run came to its end."""
    lost = len(row["lost"])
    return [
        Check(promise, name, "complete", MISS if lost else PASS, lost, 0,
              f"runs lost of {row['runs']}" + (f": {row['lost'][0]}" if lost else ""))
    ]  # fmt: skip


def check_shapes(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Distributions of each kind of coordinate, by relabelling runs."""
    shapes = row.get("shapes") or {}
    limit = SIGMA3 / max(len(shapes), 1)
    known = row.get("energy_samples") or {"effective": 0.0 if promise == "ensemble" else math.inf}
    samples = known["effective"]
    little = ""
    if samples < SAMPLES_EACH * row["runs"]:
        little = f"only {samples:.0f} effective samples of the energy"
    checks = []
    for kind, found in shapes.items():
        words = f"distance {found['distance']:.3f}, between like runs {found['noise_floor']:.3f}"
        checks.append(check_relabelled(promise, name, kind, found, limit, words, little))
    return checks


def check_equipartition(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """The worst of the elements, against a limit for so many."""
    rows = {
        element: (found["mean"], t_limit(found["count"], len(row["temperature"])) * found["error"])
        for element, found in row.get("temperature", {}).items()
        if found and found["count"] > 1
    }
    if not rows:
        return []
    element = max(rows, key=lambda e: abs(rows[e][0]) / max(rows[e][1], 1e-300))
    mean, limit = rows[element]
    origin = "the reference" if promise == "dynamics" else "the temperature of the bath"
    return [
        Check(promise, name, "equipartition", PASS if abs(mean) <= limit else MISS, mean, limit,
              f"K, of {element}, from {origin}; the noise of the runs for the worst of "
              f"{len(rows)} elements", SIGMA3)
    ]  # fmt: skip


def check_bonds(
    promise: str, name: str, row: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> list[Check]:
    """No more broken bonds than in the reference; atoms that change hands as often as there.

    What falls apart where the reference does not is a miss at once. A proton transfer is an event
    that any run may or may not see: its frequency is compared, by Fisher's exact test.
    """
    mine, known = _bond_counts(row), _bond_counts(reference or {})
    words = "runs with a broken bond; as many as in the reference"
    if broken := row.get("broken"):
        words += f" (first: {next(iter(broken.values()))[0]})"
    status, chance = PASS, 0.0
    if mine.apart > known.apart:
        status = MISS
    elif mine.handed > known.handed:
        table = np.array([[each.handed, each.runs - each.handed] for each in (mine, known)])
        chance = SIGMA3 / 2.0
        p_value = fisher_exact(table, "greater")[1]
        status = MISS if p_value < chance else OPEN
        words += f"; an atom changes hands: p {p_value:.2g} for so many more"
    value, limit = mine.apart + mine.handed, known.apart + known.handed
    return [Check(promise, name, "intact bonds", status, value, limit, words, chance)]


class _Bonds(NamedTuple):
    """Numbers of runs: all, those in which a bond breaks, those in which an atom changes hands."""

    runs: int
    apart: int
    handed: int


def _bond_counts(row: Mapping[str, Any]) -> _Bonds:
    handed = len(row.get("handed_over") or {})
    return _Bonds(row.get("runs", 0), len(row.get("broken") or {}) - handed, handed)
