"""Dynamics under a Metropolis test with extra chances, against weak Langevin dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from kstep_integrators.diagnostics.spectra import Spectrum

from benchmarks.coordinates import Coordinates, torsion_names
from benchmarks.sampling_runs import SAMPLE_FS, Run
from kstep_integrators.diagnostics import dihedral_angles, spectral_overlap, vibrational_density

__all__ = ["kinetics_report", "torsion_flips"]

RESOLUTION = 25.0
"""cm^-1."""
CORE = np.radians(30.0)

Array = np.ndarray  # type: ignore[type-arg]


def torsion_flips(angles: Array, wells: Array) -> int:
    """Changes of the well last visited, over runs (B, F).

    A well is within 30 degrees of its bottom, so that recrossings of a barrier count for nothing.
    """
    away = np.abs(np.angle(np.exp(1j * (angles[..., None] - wells))))
    nearest = np.where(away.min(-1) < CORE, away.argmin(-1), -1)
    flips = 0
    for run in nearest:
        visited = run[run >= 0]
        flips += int(np.count_nonzero(np.diff(visited)))
    return flips


def spectrum(run: Run, masses: Array, replicas: slice, every: int) -> Spectrum:
    """Density of states, averaged over replicas."""
    each = [
        vibrational_density(momenta[::every], masses, every * run.frame_fs * units.fs, RESOLUTION)
        for momenta in run.momenta[replicas]
    ]
    return Spectrum(each[0].wavenumbers, np.mean([s.density for s in each], axis=0))


def kinetics_report(atoms: Atoms, runs: list[Run], torsion: str, wells: Array) -> dict[str, Any]:
    """Flips of a torsion and of momenta, and overlap of spectra.

    Spectra are compared at equal sampling intervals, that of the jumps: fast vibrations are folded
    in both alike. Halves of the replicas are compared crosswise, as are the two halves of the
    reference for the noise floor.
    """
    coordinates = Coordinates(atoms)
    group = coordinates.quadruples[torsion_names(atoms, coordinates).index(torsion)]
    reference = next(run for run in runs if run.plan.kind == "langevin")
    masses, half = atoms.get_masses(), len(reference.momenta) // 2
    first, second = slice(None, half), slice(half, None)
    rows = []
    for run in runs:
        jumps = run.plan.kind == "jumps"
        strides = run.accepted_at.sum() if jumps else run.momenta.shape[0] * run.momenta.shape[1]
        ps = float(strides * run.frame_fs / 1000.0)
        flips = torsion_flips(dihedral_angles(run.positions, [group])[..., 0], wells)
        row: dict[str, Any] = {
            "kind": run.plan.kind,
            "stride_fs": run.plan.stride_fs,
            "friction_per_ps": run.plan.friction,
            "ps": ps,
            "evaluations": int(run.evaluations.sum()),
            "torsion_flips": flips,
            "torsion_flips_per_ns": 1000.0 * flips / ps,
            "torsion_flips_per_ns_error": 1000.0 * np.sqrt(max(flips, 1)) / ps,
        }
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
    return {"torsion": torsion, "runs": rows}
