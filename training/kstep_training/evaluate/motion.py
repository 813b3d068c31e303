"""Spectra, velocity autocorrelation, temperatures and distances of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_integrators.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.diagnostics import (
    Spectrum,
    energy_drift,
    kinetic_energy,
    peak_shift,
    spectral_overlap,
    temperature_per_element,
    velocity_autocorrelation,
    vibrational_density,
)
from kstep_training.evaluate.noise import floor_of_halves
from kstep_training.evaluate.record import Record

__all__ = [
    "BANDS",
    "compare_spectra",
    "distance",
    "drift_and_fluctuation",
    "mean_spectrum",
    "temperatures",
    "total_energy",
    "vacf_deviation",
]

Array = NDArray[np.float64]

BANDS = {"bends": (300.0, 2400.0), "stretches": (2500.0, 4000.0)}
"""cm^-1; the second those of X-H bonds."""
LIMIT = 400.0
"""Largest shift that is looked for, cm^-1."""
MEMORY_FS = 500.0
"""Of the velocity autocorrelation that is compared."""


def total_energy(record: Record) -> tuple[Array, Array]:
    """Times and total energies where both energies are known."""
    known = np.flatnonzero(np.isfinite(record.energies))
    total = record.energies[known] + kinetic_energy(record.momenta[known], record.masses)
    finite = np.isfinite(total)
    return record.time[known][finite], total[finite]


def drift_and_fluctuation(record: Record) -> tuple[float, float]:
    """meV/atom/ps and meV/atom; NaN of a run that failed or has no energies."""
    time, energy = total_energy(record)
    if not record.whole or len(time) < 3:
        return np.nan, np.nan
    found = energy_drift(time, energy, len(record.masses))
    return found.drift, found.fluctuation


def distance(record: Record, truth: Record, femtoseconds: float) -> float:
    """Root mean square distance of the atoms from another run at a time, angstrom; inf if lost."""
    here, there = (round(femtoseconds * units.FS / r.interval) for r in (record, truth))
    if len(record) <= here or not np.isfinite(record.positions[here]).all():
        return np.inf
    gap = record.positions[here] - truth.positions[there]
    return float(np.sqrt((gap**2).sum(1).mean()))


def temperatures(record: Record, conserved: bool) -> dict[str, float]:
    """Kinetic temperature of each element, K.

    Parameters
    ----------
    record : Record
    conserved : bool
        Whether momentum, and of an isolated system angular momentum, are conserved.
    """
    frames = record.landings
    frames = frames[np.isfinite(record.momenta[frames]).all((1, 2))]
    if not len(frames):
        return {}
    turns = conserved and not any(record.pbc)
    share = atomic_degrees_of_freedom(
        record.masses,
        momentum_conserved=conserved,
        angular_momentum_positions=record.positions[frames] if turns else None,
    )
    return temperature_per_element(record.momenta[frames], record.masses, record.numbers, share)


def _stretch(record: Record, every: int) -> Array:
    """Momenta of the longest stretch of frames that are all known, thinned out."""
    p = record.momenta[::every]
    known = np.isfinite(p).all((1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return p[:0]
    longest = int(np.argmax(ends - starts))
    return p[starts[longest] : ends[longest]]


def mean_spectrum(records: Sequence[Record], interval: float, resolution: float) -> list[Spectrum]:
    """Spectra of runs, sampled at an interval that theirs is a part of; of those long enough."""
    found = []
    for record in records:
        if not record.whole:
            continue
        every = round(interval / record.interval)
        momenta = _stretch(record, every)
        try:
            found.append(vibrational_density(momenta, record.masses, interval, resolution))
        except ValueError:
            continue  # too short, or nothing moves
    return found


def _mean(spectra: Sequence[Spectrum]) -> Spectrum:
    return Spectrum(spectra[0].wavenumbers, np.mean([s.density for s in spectra], axis=0))


def _shift(reference: Spectrum, spectrum: Spectrum, band: str) -> float | None:
    try:
        return peak_shift(reference, spectrum, *BANDS[band], LIMIT)
    except ValueError:
        return None


def compare_spectra(
    spectra: Sequence[Spectrum], reference: Sequence[Spectrum]
) -> dict[str, Any] | None:
    """Shift of each band and overlap, with their noise floors; None without spectra."""
    if not spectra or not reference:
        return None
    mine, other = _mean(spectra), _mean(reference)
    highest = float(other.wavenumbers[-1])
    found: dict[str, Any] = {"overlap": spectral_overlap(other, mine)}
    lost = floor_of_halves(reference, lambda a, b: 1.0 - spectral_overlap(_mean(a), _mean(b)))
    found["overlap_floor"] = None if lost is None else 1.0 - lost
    for band, (low, high) in BANDS.items():
        if highest < high:
            continue  # folded back
        # A band that the reference hardly has shows the noise of its neighbours.
        inside = (other.wavenumbers >= low) & (other.wavenumbers <= high)
        if float(other.density[inside].sum() * other.spacing) < 0.02:
            continue
        found[band] = {
            "shift": _shift(other, mine, band),
            "floor": floor_of_halves(reference, lambda a, b: _shift(_mean(a), _mean(b), band)),  # noqa: B023
        }
    return found


def vacf_deviation(
    records: Sequence[Record], reference: Sequence[Record]
) -> dict[str, float | None] | None:
    """Root mean square deviation of the velocity autocorrelation in its first half picosecond."""
    interval = max(records[0].interval, reference[0].interval)
    frames = round(MEMORY_FS * units.FS / interval)

    def curves(runs: Sequence[Record]) -> list[Array]:
        parts = [_stretch(r, round(interval / r.interval)) for r in runs if r.whole]
        parts = [p for p in parts if len(p) >= 2 * frames and p.any()]
        return [velocity_autocorrelation(p, runs[0].masses)[:frames] for p in parts]

    mine, other = curves(records), curves(reference)
    if not mine or not other:
        return None

    def apart(first: Sequence[Array], second: Sequence[Array]) -> float:
        return float(np.sqrt(np.mean((np.mean(first, 0) - np.mean(second, 0)) ** 2)))

    return {"rms": apart(mine, other), "floor": floor_of_halves(other, apart)}
