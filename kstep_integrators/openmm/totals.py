"""Totals that a program of OpenMM keeps in its variables, as the statistics of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kstep_integrators import units
from kstep_integrators.step.stats import Stats

__all__ = ["TOTALS", "stats_of"]

TOTALS = (
    "jumps", "evaluations", "fallbacks", "accepted", "flips", "failures", "bond_changes",
    "landings", "coordinates", "predicts", "residual_squares", "error_squares", "seconds",
)  # fmt: skip
"""Variables that the statistics of a run are made of."""


def stats_of(total: Mapping[str, float]) -> Stats:
    """Statistics of a run.

    Parameters
    ----------
    total : mapping of str to float
        Value of each of :data:`TOTALS`.
    """
    landings, watched = round(total["landings"]), total["residual_squares"] > 0.0
    return Stats(
        jumps=round(total["jumps"]),
        physics_evaluations=round(total["evaluations"]),
        fallbacks=round(total["fallbacks"]),
        accepted=round(total["accepted"]),
        flips=round(total["flips"]),
        failures=round(total["failures"]),
        bond_changes=round(total["bond_changes"]),
        jump_seconds=total["seconds"],
        physics_seconds=math.nan,
        _residual_squares=total["residual_squares"],
        _residual_count=round(total["coordinates"]) * landings if watched else 0,
        _energy_squares=total["error_squares"] * units.KJ_PER_MOL**2,
        _energy_count=landings if total["predicts"] > 0.0 else 0,
    )
