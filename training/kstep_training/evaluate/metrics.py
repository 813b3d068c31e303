"""Metrics of one molecule: plain numbers for each method, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_integrators import units
from kstep_integrators.diagnostics import Landings, correlation, distance_between, jump_errors
from kstep_training.evaluate.cells import cell_rows
from kstep_training.evaluate.counting import compare_reports, cost, extra_evaluations
from kstep_training.evaluate.energy_and_spectra import (
    compare_spectra,
    difference_of_temperatures,
    drift_and_fluctuation,
    run_spectra,
    temperatures,
    vacf_deviation,
)
from kstep_training.evaluate.noise import estimate, independence, written
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.structure import (
    compare_shapes,
    coordinates_of,
    find_broken,
    flips,
    label,
    shape_values,
)

__all__ = ["described", "distance", "molecule_metrics", "one_jump"]

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
    rows: dict[str, Any] = {}
    in_cell = cell_rows(records, methods, BURN_IN)
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
            "reported": {
                **compare_reports(runs),
                "extra_evaluations": extra_evaluations(runs, method),
            },
        }
        if errors := [e for r in runs for e in r.facts.get("estimate_errors", [])]:
            rms = float(np.sqrt(np.mean(np.square(errors))))
            row["estimates"] = {
                "count": len(errors),
                "error_meV_per_atom": rms / units.MEV / len(first.numbers),
            }
        if history := runs[0].facts.get("learning"):
            row["learning"] = {
                name: history[name] for name in ("evaluations", "seconds", "fallbacks")
            } | {"first": history["blocks"][0], "last": history["blocks"][-1]}
        if method.part == "dynamics":
            row |= _dynamics(records, method, settings)
        else:
            row |= _ensemble(records, method, settings.temperature_K)
        rows[method.name] = row | in_cell.get(method.name, {})
    return {"name": name, **described(first), "methods": rows}


def described(record: Record) -> dict[str, Any]:
    """Number of atoms, and of a cell its periodic directions and how many atoms are held in it."""
    size = {"atoms": len(record.numbers)}
    if not any(record.pbc):
        return size
    return {**size, "pbc": list(record.pbc), "fixed": int(record.fixed.sum())}


def distance(record: Record, truth: Record, femtoseconds: float) -> float:
    """Root mean square distance of the atoms from another run at a time, angstrom; inf if lost."""
    if len(record) < 2:
        return np.inf  # lost before the second frame
    here, there = (round(femtoseconds * units.FS / r.interval) for r in (record, truth))
    if len(record) <= here or not np.isfinite(record.positions[here]).all():
        return np.inf
    return float(distance_between(record.positions[here], truth.positions[there]))


def one_jump(
    runs: Sequence[Record],
    truth: Sequence[Record],
    reference: Sequence[Record],
    method: Method,
    coordinates: Mapping[str, Any],
) -> dict[str, float | None] | None:
    """Errors of the first jump from each start, in thermal standard deviations.

    Parameters
    ----------
    runs, truth, reference : sequence of Record
        From the same starts; the truth has a fine step.
    method : Method
    coordinates : mapping
        Bonds and angles.

    Returns
    -------
    dict or None
        ``bonds`` and ``angles`` (None of molecules that have none) and ``velocities``; None if
        every run was lost, or the jump ends between two frames of the truth.
    """
    time = method.stride_fs * units.FS
    moved = [(r, t) for r, t in zip(runs, truth, strict=True) if len(r) > 1]
    places = [(round(time / r.interval), round(time / t.interval)) for r, t in moved]
    pairs = [
        (r, i, t, j)
        for (r, t), (i, j) in zip(moved, places, strict=True)
        if i < len(r) and j < len(t) and j > 0 and np.isfinite(r.momenta[i]).all()
    ]
    if not pairs or abs(pairs[0][2].time[pairs[0][3]] - time) > 1e-6:
        return None
    masses = reference[0].masses[:, None]
    errors = jump_errors(
        [
            Landings(
                numbers=reference[0].numbers,
                bonds=coordinates["bonds"],
                angles=coordinates["angles"],
                positions=[r.positions[i] for r, i, _, _ in pairs],
                velocities=[r.momenta[i] / masses for r, i, _, _ in pairs],
                reference_positions=[t.positions[j] for _, _, t, j in pairs],
                reference_velocities=[t.momenta[j] / masses for _, _, t, j in pairs],
                thermal_positions=np.concatenate([r.positions for r in reference]),
                thermal_velocities=np.concatenate([r.momenta / masses for r in reference]),
            )
        ]
    )
    row: dict[str, float | None] = {"velocities": errors.velocities["all"]}
    for kind, rows in (("bonds", errors.bonds), ("angles", errors.angles)):
        row[kind] = rows["all"].thermal if "all" in rows else None
    return row


def _dynamics(
    records: Mapping[str, Sequence[Record]], method: Method, settings: EvaluateSettings
) -> dict[str, Any]:
    runs, reference = records[method.name], records.get(REFERENCE, [])
    row: dict[str, Any] = {}
    if method.name != TRUTH:  # too short for a drift
        energies = [drift_and_fluctuation(r) for r in runs]
        row["drift"] = [drift for drift, _ in energies]
        row["fluctuation"] = [width for _, width in energies]
    truth = records.get(TRUTH)
    if truth is not None and method.name != TRUTH:
        row["distance"] = [
            distance(r, t, settings.compared_fs) for r, t in zip(runs, truth, strict=True)
        ]
    if method.name == TRUTH or not reference:
        return row
    coordinates = coordinates_of(reference[0])
    if truth is not None:
        row["one_jump"] = one_jump(runs, truth, reference, method, coordinates)
    if not any(reference[0].pbc):  # bonds of cells are not looked at
        row |= find_broken([] if method.kind == "ballistic" else runs, coordinates)
    row["flips"] = flips([r for r in runs if r.whole] or runs[:1], coordinates)
    if method.name == REFERENCE or not any(r.whole for r in runs):
        return row
    row["temperature"] = difference_of_temperatures(runs, reference, True, True)
    whole = [r for r in runs if r.whole]
    values, others = shape_values(whole, coordinates), shape_values(reference, coordinates)
    for part in (values, others):
        for kind in ("energy", "kinetic"):
            part.pop(kind, None)  # at constant energy, that of the start
    row["shapes"] = _named(compare_shapes(values, others), reference[0], coordinates)
    interval = max(whole[0].interval, reference[0].interval)
    row["spectra"] = compare_spectra(
        run_spectra(runs, interval, settings.resolution),
        run_spectra(reference, interval, settings.resolution),
        paired=True,
        relabel=any(reference[0].pbc),
    )
    if row["spectra"]:
        row["spectra"]["resolution"] = settings.resolution
    row["vacf"] = vacf_deviation(whole, reference)
    return row


def _ensemble(
    records: Mapping[str, Sequence[Record]], method: Method, kelvin: float
) -> dict[str, Any]:
    runs, reference = records[method.name], records.get(THERMAL, [])
    coordinates = coordinates_of((reference or runs)[0])
    row: dict[str, Any] = {"flips": flips(runs, coordinates)}
    if not any(runs[0].pbc):
        row |= find_broken(runs, coordinates)
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
            row["energy_samples"] = {
                "effective": memory.effective_samples,
                "resolved": memory.resolved,
                "evaluations_each": counted / memory.effective_samples,
            }
        means = [float(v.mean()) for v in values["energy"]]
        row["mean_energy_eV"] = written(estimate(means))
    if method.name == THERMAL or not reference or len(whole) < 2:
        return row
    others = shape_values(reference, coordinates, BURN_IN)
    # Momenta of BAOAB are colder than they should be, by the square of the step; what they should
    # be is known.
    values.pop("kinetic", None)
    temperature = [temperatures(r, False) for r in whole]
    row["temperature"] = {
        element: written(estimate([t[element] - kelvin for t in temperature]))
        for element in temperature[0]
    }
    row["shapes"] = _named(compare_shapes(values, others), reference[0], coordinates)
    if method.metropolize:
        accepted = [r.facts["accepted"] / max(r.facts["jumps"], 1) for r in runs]
        row["acceptance"] = written(estimate(accepted))
    return row


def _named(shapes: dict[str, Any], record: Record, coordinates: Any) -> dict[str, Any]:
    """With the name of the coordinate that is furthest off."""
    for kind, row in shapes.items():
        if kind != "energy":
            row["largest"] = label(record.numbers, coordinates[kind][row["largest"]])
    return shapes
