"""Checks of one method, pass, miss or open, and those that both kinds of runs share.

Of runs at constant energy and at constant temperature alike: all complete, bonds intact, the right
distributions and temperatures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import fisher_exact

from kstep_training.evaluate.noise import SIGMA3, t_limit

__all__ = [
    "MISS",
    "OPEN",
    "PASS",
    "PROMISES",
    "Check",
    "check_bonds",
    "check_complete",
    "check_curves",
    "check_equipartition",
    "check_pressure",
    "check_relabelled",
    "check_shapes",
    "overall",
]

PASS, MISS, OPEN = "pass", "miss", "open"

PROMISES = {
    "dynamics": "Dynamics closer to the reference than velocity Verlet at several times the cost",
    "ensemble": "The ensemble of the physics, exactly, under a Metropolis test",
    "honesty": "Never silently wrong: what a run reports is what is measured",
    "references": "References that can be trusted: independent, and enough of them",
}

CURVES = {
    "radial": "g(r)",
    "structure": "S(k)",
    "displacement": "displacement",
    "profile": "profile of",
}
"""Titles of the kinds of curves of cells."""

SAMPLES_EACH = 4.0
"""Effective samples of the energy in each run below which a distribution tells nothing."""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    promise : str
        A key of :data:`PROMISES`.
    method : str
    what : str
        Such as ``bonds`` or ``evaluations``.
    status : {"pass", "miss", "open"}
        ``open``: within noise, or too little was run to tell.
    value, limit : float or None
        The number measured, and where a miss begins.
    explanation : str
        Units, and where the limit is from.
    chance : float
        Largest probability of a miss of a method that has nothing wrong; 0 of exact counts.
    """

    promise: str
    method: str
    what: str
    status: str
    value: float | None
    limit: float | None
    explanation: str
    chance: float = 0.0


def overall(checks: Sequence[Check]) -> str:
    """Status of several checks: one miss is a miss; without one, anything open leaves all open.

    Examples
    --------
    >>> whole = Check("dynamics", "impulse-2", "complete", PASS, 0, 0, "runs lost of 8")
    >>> drift = Check("dynamics", "impulse-2", "drift", OPEN, 0.1, 0.3, "meV/atom/ps")
    >>> overall([whole]), overall([whole, drift])
    ('pass', 'open')
    """
    statuses = {check.status for check in checks}
    return MISS if MISS in statuses else OPEN if OPEN in statuses or not statuses else PASS


def check_relabelled(
    promise: str,
    name: str,
    what: str,
    test: Mapping[str, Any],
    limit: float,
    note: str,
    little: str = "",
) -> Check:
    """A check of a p-value from relabelled runs; open where too little was run.

    Parameters
    ----------
    promise, name, what : str
    test : mapping
        ``p_value``, and ``runs`` of both sides.
    limit : float
    note : str
        For the explanation.
    little : str
        Reason to leave the check open, if there is one.
    """
    runs = test["runs"]
    if math.comb(sum(runs), runs[0]) * limit < 1.0:
        # No relabelling of so many runs could be as rare as the limit.
        little = "too few runs to be told apart"
    status = OPEN if little else PASS if test["p_value"] > limit else MISS
    text = "; ".join(part for part in ("p-value, relabelling runs", note, little) if part)
    return Check(promise, name, what, status, test["p_value"], limit, text, limit)


def check_curves(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Radial distributions, displacements and profiles of runs in cells, by relabelling runs."""
    tests = [
        (f"{title} {which}", test)
        for kind, title in CURVES.items()
        for which, test in (row.get(kind) or {}).items()
    ]
    return [
        check_relabelled(
            promise, name, what, test, SIGMA3 / len(tests),
            f"mean deviation {test['distance']:.3g}, between like runs {test['floor']:.3g}",
        )
        for what, test in tests
    ]  # fmt: skip


def check_pressure(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Mean pressure of runs in cells against that of the reference."""
    apart = row.get("pressure_difference")
    if not apart or apart["count"] < 2:
        return []
    status = PASS if abs(apart["mean"]) <= apart["limit"] else MISS
    return [
        Check(promise, name, "pressure", status, apart["mean"], apart["limit"],
              "GPa, from the reference, at the landings that fresh calculators have computed; the "
              "noise of the runs", SIGMA3)
    ]  # fmt: skip


def check_complete(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Every run came to its end."""
    lost = len(row["lost"])
    return [
        Check(promise, name, "complete", MISS if lost else PASS, lost, 0,
              f"runs lost of {row['runs']}" + (f": {row['lost'][0]}" if lost else ""))
    ]  # fmt: skip


def check_shapes(promise: str, name: str, metrics: Mapping[str, Any]) -> list[Check]:
    """Distributions of each kind of coordinate, by relabelling runs."""
    shapes = metrics.get("shapes") or {}
    limit = SIGMA3 / max(len(shapes), 1)
    known = metrics.get("energy_samples") or {
        "effective": 0.0 if promise == "ensemble" else math.inf
    }
    samples = known["effective"]
    little = ""
    if samples < SAMPLES_EACH * metrics["runs"]:
        little = f"only {samples:.0f} effective samples of the energy"
    checks = []
    for kind, row in shapes.items():
        note = f"distance {row['distance']:.3f}, between like runs {row['noise_floor']:.3f}"
        checks.append(check_relabelled(promise, name, kind, row, limit, note, little))
    return checks


def check_equipartition(promise: str, name: str, row: Mapping[str, Any]) -> list[Check]:
    """Temperature of the worst of the elements, against a limit for so many."""
    rows = {
        element: (t["mean"], t_limit(t["count"], len(row["temperature"])) * t["error"])
        for element, t in row.get("temperature", {}).items()
        if t and t["count"] > 1
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

    Bonds of cells are not looked at.

    What falls apart where the reference does not is a miss at once. A proton transfer is an event
    that any run may or may not see: its frequency is compared, by Fisher's exact test.
    """
    if "broken" not in row:
        return []
    mine, known = _bond_counts(row), _bond_counts(reference or {})
    text = "runs with a broken bond; as many as in the reference"
    if broken := row.get("broken"):
        text += f" (first: {next(iter(broken.values()))[0]})"
    status, chance = PASS, 0.0
    if mine.apart > known.apart:
        status = MISS
    elif mine.handed > known.handed:
        table = np.array([[each.handed, each.runs - each.handed] for each in (mine, known)])
        chance = SIGMA3 / 2.0
        p_value = fisher_exact(table, "greater")[1]
        status = MISS if p_value < chance else OPEN
        text += f"; an atom changes hands: p {p_value:.2g} for so many more"
    value, limit = mine.apart + mine.handed, known.apart + known.handed
    return [Check(promise, name, "intact bonds", status, value, limit, text, chance)]


class _Bonds(NamedTuple):
    """Numbers of runs: all, those in which a bond breaks, those in which an atom changes hands."""

    runs: int
    apart: int
    handed: int


def _bond_counts(row: Mapping[str, Any]) -> _Bonds:
    handed = len(row.get("handed_over") or {})
    return _Bonds(row.get("runs", 0), len(row.get("broken") or {}) - handed, handed)
