"""What the runs of one molecule come to: plain numbers for each method, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_integrators.diagnostics import (
    correlation,
    momentum_alignment,
)
from kstep_integrators.mechanics.degrees_of_freedom import degrees_of_freedom
from kstep_training.evaluate.bonds import find_broken
from kstep_training.evaluate.motion import (
    compare_spectra,
    distance,
    drift_and_fluctuation,
    run_spectra,
    temperatures,
    vacf_deviation,
)
from kstep_training.evaluate.noise import Estimate, estimate, written
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.reported import cost, extra_evaluations, told
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.shapes import (
    compare_shapes,
    coordinates_of,
    flips,
    label,
    shape_values,
)
from kstep_training.evaluate.single import one_jump

__all__ = ["difference_of_temperatures", "independence", "molecule_metrics"]

BURN_IN = 0.1
"""Part of a run at constant temperature that is left out at its beginning."""


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
            "cost": cost(runs, method),
            "reported": {**told(runs), "extra_evaluations": extra_evaluations(runs, method)},
        }
        if method.part == "dynamics":
            row |= _dynamics(records, method, settings)
        else:
            row |= _ensemble(records, method, settings.temperature)
        found[method.name] = row
    return {"name": name, "atoms": len(first.numbers), "methods": found}


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
    found |= find_broken([] if method.kind == "ballistic" else runs, coordinates)
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
        **find_broken(runs, coordinates),
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
