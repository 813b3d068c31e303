"""Frames of a run in the trajectory schema, and the numbers of its summary."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.io.trajectory import Trajectory as AseTrajectory

from kstep_integrators import KStepDynamics
from kstep_integrators.diagnostics import energy_drift, kinetic_energy, temperature_per_element
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.step.stats import Stats
from kstep_integrators.units import G_PER_CM3, KB, MEV, PS
from kstep_training.run.settings import RunSettings
from kstep_training.trajectory import ESTIMATES, Trajectory, trajectory_of

__all__ = ["mark_frame", "read_run", "summarize", "unmark_frame"]

_MARK = "kstep"
"""Key in ``info`` of a frame for its time, heat and interruptions."""


def mark_frame(dynamics: KStepDynamics) -> None:
    """Note time, heat and interruptions of the run in ``info`` of the atoms, and so in the file.

    Where its energies are estimates, the energy that its motion conserves is noted too.
    """
    stats = dynamics.stats
    mark = {
        "time": dynamics.get_time(),
        "heat": dynamics.transferred_energy,
        "breaks": stats.fallbacks + stats.shrinks + stats.flips,
    }
    if dynamics.scheme.corrector.averages:
        mark["conserved"] = dynamics.get_conserved_energy()
    # Last: atoms with another info are others, whose energy would be an evaluation.
    dynamics.atoms.info[_MARK] = mark


def unmark_frame(dynamics: KStepDynamics) -> None:
    """Take the note of :func:`mark_frame` away again."""
    dynamics.atoms.info.pop(_MARK, None)


def read_run(path: Path, settings: RunSettings, metadata: dict[str, Any]) -> Trajectory:
    """The frames of a run.

    Parameters
    ----------
    path : Path
        ASE trajectory of frames that :func:`mark_frame` has seen.
    settings : RunSettings
    metadata : dict
        To keep with them.

    Returns
    -------
    Trajectory
        Energies and forces that were not computed are NaN and have no label; estimated energies
        are in the metadata (:data:`~kstep_training.trajectory.ESTIMATES`), and ``conserved_eV``,
        the energy that the motion conserves, where they are. ``segments`` of the metadata are the
        frames at which a segment begins.

    Raises
    ------
    ValueError
        If the trajectory holds no frame.
    """
    with AseTrajectory(path) as reader:
        frames: list[Atoms] = list(reader)
    if not frames:
        raise ValueError(f"{path} holds no frame: the run ended before its first stride")
    conserved = [atoms.info[_MARK].get("conserved") for atoms in frames]
    return trajectory_of(
        frames,
        np.array([atoms.info[_MARK]["time"] for atoms in frames]),
        settings.temperature_K,
        {
            **metadata,
            "stage": "run",
            "trajectory": 0,
            "segment": 0,
            "segments": segment_starts(frames, settings.thermostat is not None).tolist(),
            "heat_eV": [float(atoms.info[_MARK]["heat"]) for atoms in frames],
            **({"conserved_eV": conserved} if any(e is not None for e in conserved) else {}),
            "settings": asdict(settings),
            "versions": {name: importlib.metadata.version(name) for name in ("ase", "torch")},
        },
    )


def segment_starts(frames: list[Atoms], kicked: bool) -> npt.NDArray[np.int64]:
    """Frames that no jump of the run has led to from the frame before.

    Parameters
    ----------
    frames : list of ase.Atoms
        That :func:`mark_frame` has seen.
    kicked : bool
        Whether a thermostat acts between any two frames: each is a segment of its own then.

    Returns
    -------
    (S,) numpy.ndarray
        From 0. Others follow a fallback, a shorter stride or a rejection.
    """
    breaks, time = (np.array([a.info[_MARK][name] for a in frames]) for name in ("breaks", "time"))
    steps = np.diff(time)
    # Of a run that learns, strides are not all of one length.
    uneven = np.abs(steps - steps.max(initial=0.0)) > 1e-6 * steps.max(initial=0.0)
    begins = np.r_[True, (np.diff(breaks) > 0) | uneven | kicked]
    return np.flatnonzero(begins)


def summarize(
    run: Trajectory,
    settings: RunSettings,
    stats: Stats,
    bonds: npt.NDArray[np.int64] | None = None,
    fixed: Sequence[int] = (),
) -> dict[str, Any]:
    """The numbers of a run.

    Parameters
    ----------
    run : Trajectory
        From :func:`read_run`.
    settings : RunSettings
    stats : Stats
        Totals at its end.
    bonds : (C, 2) numpy.ndarray, optional
        Atoms whose distances are fixed.
    fixed : sequence of int
        Atoms that are held.

    Returns
    -------
    dict
        Plain numbers, units in the keys; None for what there is not.
    """
    tested = stats.accepted + stats.flips
    momenta = run.momenta
    conserving = settings.thermostat != "langevin" and not fixed
    turns = conserving and not run.pbc.any()
    share = atomic_degrees_of_freedom(
        run.masses,
        momentum_conserved=conserving,
        angular_momentum_positions=run.positions if turns else None,
        bonds=bonds,
        bond_positions=None if bonds is None else run.positions,
    )
    share = np.broadcast_to(share, momenta.shape[:2]).copy()
    share[:, list(fixed)] = 0.0
    kinetic = kinetic_energy(momenta, run.masses)
    conserved = run.energies + kinetic - np.array(run.metadata["heat_eV"])
    noted = run.metadata.get("conserved_eV")
    if noted is not None:
        conserved = np.array([np.nan if energy is None else energy for energy in noted])
    known = np.isfinite(conserved)
    # A Metropolis test makes the energy of the physics jump with every rejection.
    drift = None
    if known.sum() >= 3 and not settings.metropolize:
        drift = energy_drift(run.time[known], conserved[known], len(run.masses))
    return {
        "simulated_ps": float(run.time[-1] - run.time[0]) / PS,
        "frames": len(run),
        "labelled_frames": int(run.has_label.sum()),
        **_estimates(run, stats),
        "strides": stats.jumps,
        "evaluations": stats.physics_evaluations,
        "fallbacks": stats.fallbacks,
        "shrinks": stats.shrinks,
        "exceeded": stats.exceeded,
        "bond_changes": stats.bond_changes,
        "acceptance": stats.accepted / tested if tested else None,
        "last_problem": stats.last_problem,
        **_cells(run, stats),
        "drift_meV_per_atom_per_ps": None if drift is None else drift.drift,
        "fluctuation_meV_per_atom": None if drift is None else drift.fluctuation,
        "temperature_K": float(2.0 * kinetic.sum() / (KB * share.sum())),
        "temperature_per_element_K": temperature_per_element(
            momenta, run.masses, run.numbers, share
        ),
        "residual_rms_meV_per_A": None if stats.residual_rms is None else stats.residual_rms / MEV,
        "energy_error_meV": None if stats.energy_error is None else stats.energy_error / MEV,
        "jump_seconds": stats.jump_seconds,
        "physics_seconds": stats.physics_seconds,
    }


def _cells(run: Trajectory, stats: Stats) -> dict[str, Any]:
    """Means of volume and density of a periodic cell, and moves of its volume."""
    if not run.pbc.all():
        return {}
    volumes = np.abs(np.linalg.det(run.cells))
    means = {
        "volume_A3": float(volumes.mean()),
        "density_g_per_cm3": float((run.masses.sum() / volumes).mean() / G_PER_CM3),
    }
    if not stats.volume_moves:
        return means
    return {
        **means,
        "volume_moves": stats.volume_moves,
        "volume_acceptance": stats.volume_accepted / stats.volume_moves,
        "volume_frozen_at_step": stats.volume_frozen,
    }


def _estimates(run: Trajectory, stats: Stats) -> dict[str, Any]:
    """A note on the numbers of a run whose physics was computed at averaged positions."""
    estimates = run.metadata.get(ESTIMATES)
    if estimates is None:
        return {}
    error = stats.estimate_error
    return {
        "estimated_frames": sum(energy is not None for energy in estimates),
        "verifications": stats.verifications,
        "estimate_error_meV_per_atom": None if error is None else error / MEV / len(run.masses),
        "drift_of": "the conserved energy, K + V(x) + D(A(x)); energies of frames are estimates",
    }
