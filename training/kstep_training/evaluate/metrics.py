"""What the runs of one molecule come to: plain numbers for each method, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_integrators.degrees_of_freedom import degrees_of_freedom
from kstep_integrators.diagnostics import (
    correlation,
    cost_per_ps,
    momentum_alignment,
)
from kstep_training.evaluate.motion import (
    compare_spectra,
    distance,
    drift_and_fluctuation,
    run_spectra,
    temperatures,
    vacf_deviation,
)
from kstep_training.evaluate.noise import Estimate, estimate
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.shapes import (
    broken_bonds,
    compare_shapes,
    coordinates_of,
    flips,
    label,
    shape_values,
)
from kstep_training.evaluate.single import one_jump

__all__ = ["difference_of_temperatures", "independence", "molecule_metrics", "told", "written"]

BURN_IN = 0.1
"""Part of a run at constant temperature that is left out at its beginning."""


def written(found: Estimate | None) -> dict[str, Any] | None:
    """An estimate for JSON."""
    if found is None:
        return None
    return {**asdict(found), "limit": found.limit}


def molecule_metrics(
    name: str,
    records: Mapping[str, Sequence[Record]],
    methods: Sequence[Method],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Everything about one molecule.

    Parameters
    ----------
    name : str
    records : mapping of str to sequence of Record
        By the name of the method, one for each seed; methods that could not be run are missing.
    methods : sequence of Method
    settings : EvaluateSettings

    Returns
    -------
    dict
        ``name``, ``atoms``, and ``methods``: a mapping for each.
    """
    first = next(iter(records.values()))[0]
    found: dict[str, Any] = {}
    for method in methods:
        if method.name not in records:
            continue
        runs = records[method.name]
        row = {
            **asdict(method),
            "runs": len(runs),
            "lost": [r.facts["error"] for r in runs if not r.whole],
            "independence": independence(runs, method.part == "dynamics"),
            "cost": _cost(runs, method),
            "reported": {**told(runs), "extra_evaluations": _extra(runs, method)},
        }
        if method.part == "dynamics":
            row |= _dynamics(records, method, settings)
        else:
            row |= _ensemble(records, method, settings.temperature)
        found[method.name] = row
    return {"name": name, "atoms": len(first.numbers), "methods": found}


def _cost(runs: Sequence[Record], method: Method) -> dict[str, Any] | None:
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


def _extra(runs: Sequence[Record], method: Method) -> int | None:
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
    """Logarithm of measured over reported root mean squares, and its noise over runs."""
    found = estimate(measured)
    if found is None or not found.mean > 0.0 or found.count < 2:
        return None
    # In the logarithm, so that too small and too large are as easily seen.
    mean = 0.5 * float(np.log(found.mean / np.mean(reported)))
    return written(Estimate(mean, 0.5 * found.error / found.mean, found.count))


def independence(runs: Sequence[Record], conserved: bool) -> dict[str, Any] | None:
    """The most alike pair of runs, at their starts or ends; None without momenta."""
    whole = [r for r in runs if r.whole and np.isfinite(r.momenta[[0, -1]]).all()]
    if len(whole) < 2:
        return None
    size = len(whole[0].numbers)
    degrees = degrees_of_freedom(
        size,
        momentum_conserved=conserved,
        angular_momentum_conserved=conserved and not any(whole[0].pbc),
    )
    if degrees < 2:
        return None
    ends = [
        momentum_alignment([r.momenta[frame] for r in whole], whole[0].masses, degrees)
        for frame in (0, -1)
    ]
    worst = min(ends, key=lambda found: found.p_value)
    return {**asdict(worst), "p_value": min(1.0, 2.0 * worst.p_value)}


def difference_of_temperatures(
    runs: Sequence[Record], reference: Sequence[Record], conserved: bool, paired: bool
) -> dict[str, Any]:
    """Kinetic temperature of each element less that of the reference, K."""
    mine = [temperatures(r, conserved) for r in runs if r.whole]
    if paired:
        pairs = zip(runs, reference, strict=True)
        other = [temperatures(b, conserved) for a, b in pairs if a.whole]
    else:
        other = [temperatures(r, conserved) for r in reference if r.whole]
    found: dict[str, Any] = {}
    for element in mine[0] if mine and other else ():
        a = np.array([t[element] for t in mine if element in t])
        b = np.array([t[element] for t in other if element in t])
        if paired and len(a) == len(b):
            found[element] = written(estimate(a - b))
        elif len(a) > 1 and len(b) > 1:
            error = float(np.hypot(a.std(ddof=1) / len(a) ** 0.5, b.std(ddof=1) / len(b) ** 0.5))
            both = Estimate(float(a.mean() - b.mean()), error, min(len(a), len(b)))
            found[element] = written(both)
    return found


def _dynamics(
    records: Mapping[str, Sequence[Record]], method: Method, settings: EvaluateSettings
) -> dict[str, Any]:
    runs, reference = records[method.name], records.get(REFERENCE, [])
    found: dict[str, Any] = {}
    if method.name != TRUTH:  # too short for a drift
        energies = [drift_and_fluctuation(r) for r in runs]
        found["drift"] = [drift for drift, _ in energies]
        found["fluctuation"] = [width for _, width in energies]
    truth = records.get(TRUTH)
    if truth is not None and method.name != TRUTH:
        found["distance"] = [
            distance(r, t, settings.compared_fs) for r, t in zip(runs, truth, strict=True)
        ]
    if method.name == TRUTH or not reference:
        return found
    coordinates = coordinates_of(reference[0])
    if truth is not None:
        found["one_jump"] = one_jump(runs, truth, reference, method, coordinates)
    found["broken"] = {
        str(seed): gone
        for seed, r in enumerate(runs)
        if (gone := broken_bonds(r, coordinates)) and method.kind != "ballistic"
    }
    found["flips"] = flips([r for r in runs if r.whole] or runs[:1], coordinates)
    if method.name == REFERENCE or not any(r.whole for r in runs):
        return found
    found["temperature"] = difference_of_temperatures(runs, reference, True, True)
    whole = [r for r in runs if r.whole]
    values, others = shape_values(whole, coordinates), shape_values(reference, coordinates)
    for part in (values, others):
        for kind in ("energy", "kinetic"):
            part.pop(kind, None)  # at constant energy, that of the start
    found["shapes"] = _named(compare_shapes(values, others), reference[0], coordinates)
    interval = max(whole[0].interval, reference[0].interval)
    found["spectra"] = compare_spectra(
        run_spectra(runs, interval, settings.resolution),
        run_spectra(reference, interval, settings.resolution),
        paired=True,
    )
    if found["spectra"]:
        found["spectra"]["resolution"] = settings.resolution
    found["vacf"] = vacf_deviation(whole, reference)
    return found


def _ensemble(
    records: Mapping[str, Sequence[Record]], method: Method, kelvin: float
) -> dict[str, Any]:
    runs, reference = records[method.name], records.get(THERMAL, [])
    coordinates = coordinates_of((reference or runs)[0])
    found: dict[str, Any] = {
        "broken": {
            str(seed): gone for seed, r in enumerate(runs) if (gone := broken_bonds(r, coordinates))
        },
        "flips": flips(runs, coordinates),
    }
    whole = [r for r in runs if r.whole]
    values = shape_values(whole, coordinates, BURN_IN)
    if values.get("energy"):
        length = min(len(v) for v in values["energy"])
        try:
            memory = correlation(np.array([v[:length, 0] for v in values["energy"]]))
        except ValueError:
            memory = None  # nothing moved
        if memory is not None:
            counted = sum(int(r.facts["counted"]) for r in whole) * (1.0 - BURN_IN)
            found["energy_samples"] = {
                "effective": memory.effective_samples,
                "resolved": memory.resolved,
                "evaluations_each": counted / memory.effective_samples,
            }
        means = [float(v.mean()) for v in values["energy"]]
        found["mean_energy_eV"] = written(estimate(means))
    if method.name == THERMAL or not reference or len(whole) < 2:
        return found
    others = shape_values(reference, coordinates, BURN_IN)
    # Momenta of BAOAB are colder than they should be, by the square of the step; what they should
    # be is known.
    values.pop("kinetic", None)
    temperature = [temperatures(r, False) for r in whole]
    found["temperature"] = {
        element: written(estimate([t[element] - kelvin for t in temperature]))
        for element in temperature[0]
    }
    found["shapes"] = _named(compare_shapes(values, others), reference[0], coordinates)
    if method.metropolize:
        accepted = [r.facts["accepted"] / max(r.facts["jumps"], 1) for r in runs]
        found["acceptance"] = written(estimate(accepted))
    return found


def _named(shapes: dict[str, Any], record: Record, coordinates: Any) -> dict[str, Any]:
    """With the name of the coordinate that is furthest off."""
    for kind, row in shapes.items():
        if kind != "energy":
            row["largest"] = label(record.numbers, coordinates[kind][row["largest"]])
    return shapes
