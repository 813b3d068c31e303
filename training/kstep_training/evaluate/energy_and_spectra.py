"""Energies, temperatures, vibrational spectra and velocity autocorrelation of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_integrators.diagnostics import (
    Spectrum,
    compare_curves,
    energy_drift,
    kinetic_energy,
    peak_shift,
    spectral_overlap,
    temperature_per_element,
    velocity_autocorrelation,
    vibrational_density,
)
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_training.evaluate.noise import (
    Estimate,
    estimate,
    floor_of_halves,
    t_limit,
    written,
)
from kstep_training.evaluate.record import Record

__all__ = [
    "BANDS",
    "LIMIT",
    "compare_spectra",
    "difference_of_temperatures",
    "drift_and_fluctuation",
    "run_spectra",
    "temperatures",
    "total_energy",
    "vacf_deviation",
]

Array = NDArray[np.float64]

BANDS = {"bends": (300.0, 2400.0), "stretches": (2500.0, 4000.0)}
"""cm^-1; the second those of X-H bonds."""
LIMIT = 400.0
"""Largest shift that is looked for, cm^-1."""
RELABELLINGS = 2_999
MEMORY_FS = 500.0
"""Of the velocity autocorrelation that is compared."""


def total_energy(record: Record) -> tuple[Array, Array]:
    """Times (ASE units) and total energies (eV) of the frames where both energies are known."""
    known = np.flatnonzero(np.isfinite(record.energies))
    total = record.energies[known] + kinetic_energy(record.momenta[known], record.masses)
    finite = np.isfinite(total)
    return record.time[known][finite], total[finite]


def drift_and_fluctuation(record: Record) -> tuple[float, float]:
    """Drift (meV/atom/ps) and fluctuation (meV/atom); NaN of a run without energies or end."""
    time, energy = total_energy(record)
    if not record.whole or len(time) < 3:
        return np.nan, np.nan
    line = energy_drift(time, energy, len(record.masses))
    return line.drift, line.fluctuation


def temperatures(record: Record, conserved: bool) -> dict[str, float]:
    """Kinetic temperature of each element, K.

    Parameters
    ----------
    record : Record
    conserved : bool
        Whether momentum, and of an isolated system angular momentum, are conserved; beside fixed
        atoms they are not.
    """
    conserved = conserved and not record.fixed.any()
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
    share = np.where(record.fixed, 0.0, share)
    return temperature_per_element(record.momenta[frames], record.masses, record.numbers, share)


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
    rows: dict[str, Any] = {}
    for element in mine[0] if mine and other else ():
        a = np.array([t[element] for t in mine if element in t])
        b = np.array([t[element] for t in other if element in t])
        if paired and len(a) == len(b):
            rows[element] = written(estimate(a - b))
        elif len(a) > 1 and len(b) > 1:
            error = float(np.hypot(a.std(ddof=1) / len(a) ** 0.5, b.std(ddof=1) / len(b) ** 0.5))
            both = Estimate(float(a.mean() - b.mean()), error, min(len(a), len(b)))
            rows[element] = written(both)
    return rows


def _stretch(record: Record, every: int) -> Array:
    """Momenta (F, N, 3) of the longest stretch of frames that are all known, thinned out."""
    p = record.momenta[::every]
    known = np.isfinite(p).all((1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return p[:0]
    longest = int(np.argmax(ends - starts))
    return p[starts[longest] : ends[longest]]


def run_spectra(
    records: Sequence[Record], interval: float, resolution: float
) -> list[Spectrum | None]:
    """Spectra of runs, sampled at an interval that theirs is a part of; None of those too short."""
    spectra: list[Spectrum | None] = []
    for record in records:
        if not record.whole:
            spectra.append(None)
            continue
        momenta = _stretch(record, round(interval / record.interval))
        try:
            spectra.append(vibrational_density(momenta, record.masses, interval, resolution))
        except ValueError:
            spectra.append(None)  # too short, or nothing moves
    return spectra


def mean_spectrum(spectra: Sequence[Spectrum]) -> Spectrum:
    """Average of spectra of one grid."""
    return Spectrum(spectra[0].wavenumbers, np.mean([s.density for s in spectra], axis=0))


def band_shift(reference: Spectrum, spectrum: Spectrum, band: str) -> float | None:
    """Shift of a band of :data:`BANDS`, cm^-1; None beyond the limit, or if it is not there."""
    try:
        return peak_shift(reference, spectrum, *BANDS[band], LIMIT)
    except ValueError:
        return None


def compare_spectra(
    spectra: Sequence[Spectrum | None],
    reference: Sequence[Spectrum | None],
    paired: bool,
    relabel: bool = False,
) -> dict[str, Any] | None:
    """Shift of each band and overlap, with their noise; None without spectra.

    Parameters
    ----------
    spectra, reference : sequence of Spectrum or None
        Of single runs.
    paired : bool
        Whether runs of one number have one start. Then shifts are taken start by start: how much
        energy each vibration has differs much more between starts than a stride could change.
        Otherwise whole runs are relabelled, as in
        :func:`~kstep_integrators.diagnostics.compare_curves`: ``relabelled`` is its result.
    relabel : bool
        Relabel paired runs too: spectra of crystals and liquids have no band that stands apart.
    """
    mine = [s for s in spectra if s is not None]
    other = [s for s in reference if s is not None]
    if not mine or not other:
        return None
    mean = mean_spectrum(other)
    row: dict[str, Any] = {"overlap": spectral_overlap(mean, mean_spectrum(mine))}
    lost = floor_of_halves(
        other, lambda a, b: 1.0 - spectral_overlap(mean_spectrum(a), mean_spectrum(b))
    )
    row["overlap_floor"] = None if lost is None else 1.0 - lost
    bands = [band for band in BANDS if _shows(mean, *BANDS[band])]
    row["bands"], row["paired"] = len(bands), paired
    for band in bands:
        if paired:
            pairs = [(b, a) for a, b in zip(spectra, reference, strict=True) if a and b]
            shifts = [band_shift(b, a, band) for b, a in pairs]
            known = estimate([s for s in shifts if s is not None])
            beyond = known is None or 2 * shifts.count(None) > len(shifts)
            row[band] = {
                "shift": None if beyond or known is None else known.mean,
                "noise": None
                if known is None or known.count < 2
                else t_limit(known.count, len(bands)) * known.error,
            }
            continue
        row[band] = {"shift": band_shift(mean, mean_spectrum(mine), band), "noise": None}
    if relabel or not paired:
        row["relabelled"] = None
        if len(mine) > 1 and len(other) > 1:
            first, second = ([s.density for s in part] for part in (mine, other))
            result = compare_curves(first, second, RELABELLINGS)
            row["relabelled"] = {**asdict(result), "runs": [len(mine), len(other)]}
    return row


def _shows(spectrum: Spectrum, low: float, high: float) -> bool:
    """True if a band is there: not folded back, and more than the noise of its neighbours."""
    if float(spectrum.wavenumbers[-1]) < high:
        return False
    inside = (spectrum.wavenumbers >= low) & (spectrum.wavenumbers <= high)
    return float(spectrum.density[inside].sum() * spectrum.spacing) >= 0.02


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
