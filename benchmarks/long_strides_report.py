"""What the runs of `benchmarks.long_strides` say: a row for each run, a summary for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from benchmarks.long_strides_record import Record, Run, read_record
from kstep_integrators.diagnostics import (
    Spectrum,
    energy_drift,
    spectral_overlap,
    vibrational_density,
)
from kstep_training.evaluate.energy_and_spectra import BANDS, band_shift
from kstep_training.evaluate.noise import quantile

__all__ = ["joined_legs", "row", "summary", "verdicts"]

RESOLUTION = 28.0
"""cm^-1; segments of 1.2 ps."""


def joined_legs(cache: Path, run: Run, name: str, legs: int) -> Record | None:
    """The legs of a run as one; None if one is missing that nothing excuses."""
    records: list[Record] = []
    for leg in range(legs):
        record = read_record(cache, replace(run, leg=leg), name)
        if record is None:
            if records and records[-1].facts["error"]:
                break
            return None
        records.append(record)
    first = records[0]
    ends = np.cumsum([0.0, *(1e3 * units.fs * r.facts["picoseconds"] for r in records)])
    facts = {**first.facts, "error": records[-1].facts["error"]}
    for key in ("evaluations", "fallbacks", "picoseconds", "seconds"):
        facts[key] = sum(r.facts[key] for r in records)
    if "residual_meV_per_A" in facts:
        squares = [r.facts["residual_meV_per_A"] ** 2 for r in records]
        weights = [r.facts["picoseconds"] for r in records]
        facts["residual_meV_per_A"] = float(np.sqrt(np.average(squares, weights=weights)))
    # Each leg begins with the frame that the one before ended with.
    return Record(
        times=np.concatenate([r.times[i > 0 :] + ends[i] for i, r in enumerate(records)]),
        energies=np.concatenate([r.energies[i > 0 :] for i, r in enumerate(records)]),
        positions=np.concatenate([r.positions[i > 0 :] for i, r in enumerate(records)]),
        momenta=np.concatenate([r.momenta[i > 0 :] for i, r in enumerate(records)]),
        masses=first.masses,
        facts=facts,
    )


def _spectrum(record: Record, frame_fs: float) -> Spectrum | None:
    if record.facts["error"] or not np.isfinite(record.momenta).all():
        return None
    return vibrational_density(record.momenta, record.masses, frame_fs * units.fs, RESOLUTION)


def _shifts(reference: Spectrum, spectrum: Spectrum) -> dict[str, float | None]:
    """Shift of each band, cm^-1; None beyond the limit."""
    return {band: band_shift(reference, spectrum, band) for band in BANDS}


def noise(record: Record, frame_fs: float) -> dict[str, float | None]:
    """Shifts between the halves of one run."""
    half = len(record.momenta) // 2
    parts = [replace(record, momenta=m) for m in (record.momenta[:half], record.momenta[-half:])]
    first, second = (_spectrum(part, frame_fs) for part in parts)
    return {} if first is None or second is None else _shifts(first, second)


def row(
    record: Record, reference: Record | None, distances: Sequence[float | None], frame_fs: float
) -> dict[str, Any]:
    """One run of one molecule.

    Parameters
    ----------
    record : Record
    reference : Record or None
        The run that the spectra are compared with.
    distances : sequence of float or None
        Distance from the reference at the time of comparison, from each start; None if the run did
        not get there.
    frame_fs : float
    """
    facts = record.facts
    found: dict[str, Any] = {
        "picoseconds": facts["picoseconds"],
        "evaluations": facts["evaluations"],
        "fallbacks": facts["fallbacks"],
        "error": facts["error"],
        "rmsd_A": list(distances),
    }
    if "residual_meV_per_A" in facts:
        found["residual_meV_per_A"] = facts["residual_meV_per_A"]
    if not facts["error"]:
        drift = energy_drift(record.times, record.energies, len(record.masses))
        found["drift_meV_per_atom_per_ps"] = drift.drift
        found["fluctuation_meV_per_atom"] = drift.fluctuation
    spectra = [None if r is None else _spectrum(r, frame_fs) for r in (reference, record)]
    if spectra[0] is not None and spectra[1] is not None:
        found["shift_per_cm"] = _shifts(spectra[0], spectra[1])
        found["overlap"] = spectral_overlap(spectra[0], spectra[1])
    return found


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All molecules of one method; a run that did not come to its end is infinitely bad."""
    whole = [r for r in rows if not r["error"]]
    result: dict[str, Any] = {
        "molecules": len(rows),
        "lost": [r["molecule"] for r in rows if r["error"]],
        "fallbacks": sum(r["fallbacks"] for r in rows),
        "picoseconds": max(r["picoseconds"] for r in rows),
        "evaluations_per_ps": sum(r["evaluations"] for r in rows)
        / sum(r["picoseconds"] for r in rows),
    }
    for key in ("drift_meV_per_atom_per_ps", "fluctuation_meV_per_atom"):
        sizes = [abs(r[key]) if key in r else math.inf for r in rows]
        name = f"abs_{key}" if key.startswith("drift") else key
        result[name] = {"median": quantile(sizes, 0.5), "p90": quantile(sizes, 0.9)}
    if len(whole) > 1:
        drifts = np.array([r["drift_meV_per_atom_per_ps"] for r in whole])
        result["signed_drift_meV_per_atom_per_ps"] = {
            "mean": float(drifts.mean()),
            "standard_error": float(drifts.std(ddof=1) / np.sqrt(len(drifts))),
            "of": len(whole),
        }
    starts = [d for r in rows for d in r["rmsd_A"]]
    means = [float(np.mean([math.inf if d is None else d for d in r["rmsd_A"]])) for r in rows]
    result["rmsd_A"] = {
        "mean": float(np.mean(means)) if math.isfinite(np.mean(means)) else None,
        "median": quantile(means, 0.5),
        "starts": len(starts),
        "lost": sum(d is None for d in starts),
    }
    if all("residual_meV_per_A" in r for r in rows):
        squares = [r["residual_meV_per_A"] ** 2 for r in rows]
        result["residual_meV_per_A"] = float(np.sqrt(np.mean(squares)))
    compared = [r for r in rows if "shift_per_cm" in r]
    result["spectra_of"] = len(compared)
    if compared:
        result["overlap"] = float(np.median([r["overlap"] for r in compared]))
        for band in BANDS:
            known = [r["shift_per_cm"][band] for r in compared]
            result[f"{band}_shift_per_cm"] = shift_summary(known)
    return result


def shift_summary(known: Sequence[float | None]) -> dict[str, Any]:
    """Shifts of all molecules, None where there is no telling."""
    told = np.array([s for s in known if s is not None])
    if not len(told):
        return {"of": 0}
    return {
        "median": float(np.median(told)),
        "abs_median": float(np.median(np.abs(told))),
        "abs_max": float(np.abs(told).max()),
        "of": len(told),
    }


def verdicts(
    summaries: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The aims: better than Verlet at 1 fs with strides of 4 fs; no heating at 6 and 8 fs."""
    found: dict[str, Any] = {}
    bar = summaries["verlet-1"]
    by_key = {(r["method"], r["molecule"]): r for r in rows}
    for key, mine in summaries.items():
        if not key.endswith(("-4", "-6", "-8")):
            continue
        drift = mine.get("signed_drift_meV_per_atom_per_ps", {"mean": math.inf})
        verdict: dict[str, Any] = {
            "heats_less_than_0.3": not mine["lost"] and abs(drift["mean"]) < 0.3
        }
        if key.endswith("-4"):
            for what, part in (("fluctuation_meV_per_atom", "median"), ("rmsd_A", "mean")):
                value = mine[what][part]
                verdict[f"{what}_below_verlet_1"] = value is not None and value < bar[what][part]
            verdict["molecules_with_less_fluctuation"] = sum(
                r.get("fluctuation_meV_per_atom", math.inf)
                < by_key["verlet-1", r["molecule"]]["fluctuation_meV_per_atom"]
                for r in rows
                if r["method"] == key
            )
        found[key] = verdict
    return found
