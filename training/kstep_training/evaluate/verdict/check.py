"""What a check is, and the words and numbers that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["MISS", "OPEN", "PASS", "PROMISES", "Check", "overall"]

PASS, MISS, OPEN = "pass", "miss", "open"

PROMISES = {
    "dynamics": "Dynamics closer to the reference than velocity Verlet at several times the cost",
    "ensemble": "The ensemble of the physics, exactly, under a Metropolis test",
    "honesty": "Never silently wrong: what a run reports is what is measured",
    "references": "References that can be trusted: independent, and enough of them",
}


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
        What was found, and where a miss begins.
    words : str
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
    words: str
    chance: float = 0.0


def overall(checks: Sequence[Check]) -> str:
    """One miss is a miss; without one, anything open leaves the whole open."""
    statuses = {check.status for check in checks}
    return MISS if MISS in statuses else OPEN if OPEN in statuses or not statuses else PASS
