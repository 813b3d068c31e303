"""Dynamics under a Metropolis test with extra chances, against weak Langevin dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units

from benchmarks.coordinates import SLOW, slow_wells
from benchmarks.sampling_runs import SAMPLE_FS, Run
from kstep_integrators.diagnostics import (
    Spectrum,
    spectral_overlap,
    vibrational_density,
    well_changes,
)
from kstep_training.evaluate.energy_and_spectra import mean_spectrum

__all__ = ["kinetics_report"]

RESOLUTION = 50.0
"""cm^-1."""

Array = np.ndarray  # type: ignore[type-arg]


def spectrum(run: Run, masses: Array, replicas: slice, every: int) -> Spectrum:
    """Density of states, averaged over replicas."""
    each = [
        vibrational_density(momenta[::every], masses, every * run.frame_fs * units.fs, RESOLUTION)
        for momenta in run.momenta[replicas]
    ]
    return mean_spectrum(each)


def kinetics_report(name: str, atoms: Atoms, runs: list[Run]) -> list[dict[str, Any]]:
    """Changes of torsions, flips of momenta, and overlap of spectra.

    Spectra are compared at equal sampling intervals, that of the jumps: fast vibrations are folded
    in both alike. Halves of the replicas are compared crosswise, as are the two halves of the
    reference for the noise floor.
    """
    reference = next(run for run in runs if run.plan.kind == "langevin")
    masses, half = atoms.get_masses(), len(reference.momenta) // 2
    first, second = slice(None, half), slice(half, None)
    rows = []
    for run in runs:
        jumps = run.plan.kind == "jumps"
        strides = run.accepted_at.sum() if jumps else run.momenta.shape[0] * run.momenta.shape[1]
        ps = float(strides * run.frame_fs / 1000.0)
        row: dict[str, Any] = {
            "kind": run.plan.kind,
            "stride_fs": run.plan.stride_fs,
            "friction_per_ps": run.plan.friction,
            "ps": ps,
            "evaluations": int(run.evaluations.sum()),
            "hops_per_ns": {},
        }
        for what, group in SLOW[name].items():
            count = well_changes(slow_wells(run.positions, group))
            error = np.sqrt(max(count, 1))
            row["hops_per_ns"][what] = [1000.0 * count / ps, 1000.0 * float(error) / ps]
        if jumps:
            every = round(run.frame_fs / SAMPLE_FS)
            mine = [spectrum(run, masses, part, 1) for part in (first, second)]
            other = [spectrum(reference, masses, part, every) for part in (first, second)]
            row |= {
                "accepted_first": float((run.accepted_at == 1).mean()),
                "accepted": float((run.accepted_at > 0).mean()),
                "momentum_flips_per_ps": float((run.accepted_at == 0).sum() / ps),
                "spectral_overlap": float(
                    np.mean([spectral_overlap(mine[0], other[1]),
                             spectral_overlap(mine[1], other[0])])
                ),
                "spectral_overlap_of_reference_halves": spectral_overlap(*other),
            }  # fmt: skip
        rows.append(row)
    return rows
