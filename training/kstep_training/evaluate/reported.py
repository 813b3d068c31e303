"""What runs cost, and what they said of themselves beside what was found by other means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_integrators.diagnostics import cost_per_ps
from kstep_training.evaluate.noise import Estimate, estimate, written
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record

__all__ = ["cost", "extra_evaluations", "told"]


def cost(runs: Sequence[Record], method: Method) -> dict[str, Any] | None:
    """Per picosecond of the clock, over all seeds that came to their end; None without any."""
    runs = [r for r in runs if r.whole]
    if method.kind == "ballistic" or not runs:
        return None
    clock = sum(float(r.time[-1]) for r in runs)
    cycles = [r.facts.get("scf_cycles") for r in runs]
    return asdict(
        cost_per_ps(
            clock,
            sum(int(r.facts["counted"]) for r in runs),
            sum(float(r.facts["seconds"]) for r in runs),
            None if None in cycles else sum(int(c) for c in cycles if c is not None),
        )
    )


def extra_evaluations(runs: Sequence[Record], method: Method) -> int | None:
    """Most evaluations of a run beyond its plan; None where fallbacks or failures add theirs."""
    plain = [r for r in runs if r.whole and not r.facts.get("fallbacks")]
    if method.kind == "ballistic" or not plain:
        return None
    return max(int(r.facts["counted"]) - 1 - method.steps for r in plain)


def told(runs: Sequence[Record]) -> dict[str, Any]:
    """What runs said of themselves, beside what was found by other means."""
    found: dict[str, Any] = {
        "evaluations": [[r.facts.get("evaluations"), r.facts.get("counted")] for r in runs],
        "fallbacks": sum(int(r.facts.get("fallbacks", 0)) for r in runs),
        "accepted": sum(int(r.facts.get("accepted", 0)) for r in runs),
        "jumps": sum(int(r.facts.get("jumps", 0)) for r in runs),
        "bond_changes": [int(r.facts.get("bond_changes", 0)) for r in runs],
    }
    spots = [r.facts.get("spot") or {} for r in runs]
    energy = [abs(e) for spot in spots for e in spot.get("energy", [])]
    found["energy_checks"] = len(energy)
    found["failed_checks"] = sum(len(spot.get("failed", [])) for spot in spots)
    if energy:
        found["energy_deviation_eV"] = max(energy)
    for fact, check in (("residual_rms", "residual"), ("energy_error", "predicted")):
        pairs = [
            (float(r.facts[fact]) ** 2, float(np.mean(np.square(spot[check]))))
            for r, spot in zip(runs, spots, strict=True)
            if r.facts.get(fact) and spot.get(check)
        ]
        reported = [float(r.facts[fact]) for r in runs if r.facts.get(fact) is not None]
        if reported:
            found[fact] = float(np.sqrt(np.mean(np.square(reported))))
        if pairs:
            found[f"{fact}_measured"] = float(np.sqrt(np.mean([b for _, b in pairs])))
            found[f"{fact}_factor"] = _factor([a for a, _ in pairs], [b for _, b in pairs])
    return found


def _factor(reported: Sequence[float], measured: Sequence[float]) -> dict[str, Any] | None:
    """Logarithm of measured over reported root mean squares, and its noise over runs.

    The noise is that of a ratio of means, linearized (W. G. Cochran, Sampling Techniques, 3rd ed.,
    1977, chapter 6): a run whose report holds rare large errors that its sample has not met counts
    as what it is, a large deviation.
    """
    top, bottom = float(np.mean(measured)), float(np.mean(reported))
    if len(measured) < 2 or not (top > 0.0 and bottom > 0.0):
        return None
    noise = estimate(
        [0.5 * (m / top - r / bottom) for m, r in zip(measured, reported, strict=True)]
    )
    if noise is None:
        return None
    # In the logarithm, so that too small and too large are as easily seen.
    return written(Estimate(0.5 * float(np.log(top / bottom)), noise.error, noise.count))
