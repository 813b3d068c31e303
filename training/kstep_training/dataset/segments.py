"""The labelled frames of a trajectory file, and the stretches of it that supervision may span.

A segment is a run of consecutive labelled frames of NVE dynamics at one spacing. A frame without a
label, a gap in time, a thermostat or a distortion ends it. Frames are stored about their centre of
mass and without net momentum, which no jump changes. In a periodic cell there is no segment: its
atoms are stored inside of the cell, which breaks their motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kstep_integrators import units
from kstep_integrators.mechanics.near_pairs import periodic_cell
from kstep_training.trajectory import Trajectory

__all__ = ["Frames", "labelled_frames", "row_type"]

SPACING_TOLERANCE = 1e-4
"""Relative, of the time between two frames."""
FLAT = 1e-6
"""Volume of a cell over that of a box with vectors as long, below which it has none."""


def row_type(n_atoms: int, in_cell: bool = False) -> np.dtype[np.void]:
    """One frame, ASE units: positions, velocities and forces (n_atoms, 3), energy, cell (3, 3).

    Of isolated molecules there is no cell.
    """
    vectors = ("<f8", (n_atoms, 3))
    names = ("positions", "velocities", "forces")
    cell = [("cell", "<f8", (3, 3))] if in_cell else []
    return np.dtype([*((name, *vectors) for name in names), ("energy", "<f8"), *cell])


@dataclass(frozen=True)
class Frames:
    """Labelled frames of one file.

    Attributes
    ----------
    rows : (n_frames,) of :func:`row_type`
        Centred and momentum-free; in cells, atoms inside of the cell.
    segments : list of (int, int)
        First frame and end of each segment; none in cells.
    timestep_fs : float or None
        Between the frames of a segment; None where there is none.
    thermal : bool
        Whether the frames belong to a temperature: not distorted ones.
    """

    rows: npt.NDArray[np.void]
    segments: list[tuple[int, int]]
    timestep_fs: float | None
    thermal: bool


def labelled_frames(trajectory: Trajectory, path: Path) -> Frames:
    """Labelled frames of a trajectory, and its segments.

    Parameters
    ----------
    trajectory : Trajectory
        Its metadata say ``stage`` (``"production"`` for segments), ``timestep_fs``,
        ``interval_steps`` and, in ``settings``, ``production`` (``"nve"`` unless given).
    path : Path
        Of the file, for messages.

    Raises
    ------
    ValueError
        If a labelled frame is not finite, its cell has no volume, or no two frames are as far apart
        as the metadata say.
    """
    keep, in_cell = trajectory.has_label, bool(trajectory.pbc.any())
    rows = np.empty(int(keep.sum()), row_type(len(trajectory.numbers), in_cell))
    mass = trajectory.masses[:, None]
    for name in ("positions", "velocities"):
        vectors = getattr(trajectory, name)[keep]
        rows[name] = vectors - (mass * vectors).sum(1, keepdims=True) / mass.sum()
    rows["forces"] = trajectory.forces[keep]
    rows["energy"] = trajectory.energies[keep]
    for name in ("positions", "velocities", "forces", "energy"):
        if not np.isfinite(rows[name]).all():
            raise ValueError(f"{path} has labelled frames whose {name} is not finite; remove it")
    if in_cell:
        rows["cell"] = trajectory.cells[keep]
        _wrap(rows, trajectory.pbc, path)
    metadata = trajectory.metadata
    segments: list[tuple[int, int]] = []
    spacing = _spacing(metadata, trajectory.time)
    if _conserves_energy(metadata) and spacing > 0.0 and not in_cell:
        _check_spacing(trajectory.time, spacing, path)
        segments = _runs(trajectory.time, keep, spacing)
    return Frames(
        rows,
        segments,
        timestep_fs=round(spacing / units.FS, 9) if segments else None,
        thermal=metadata.get("stage") != "distorted",
    )


def _wrap(rows: npt.NDArray[np.void], pbc: npt.NDArray[np.bool_], path: Path) -> None:
    """Put atoms into their cell about the origin, in place: float32 has seven digits."""
    periodic = (bool(pbc[0]), bool(pbc[1]), bool(pbc[2]))
    for row in rows:
        vectors = row["cell"][pbc]
        spanned = np.sqrt(max(0.0, np.linalg.det(vectors @ vectors.T)))
        if spanned < FLAT * np.linalg.norm(vectors, axis=1).prod():
            raise ValueError(
                f"{path} has a cell without volume: {row['cell'].tolist()} (angstrom) with pbc = "
                f"{pbc.tolist()}; expected vectors that are independent of each other"
            )
        lattice = periodic_cell(row["cell"], periodic)
        whole = np.rint(row["positions"] @ np.linalg.inv(lattice)) * pbc
        row["positions"] -= whole @ lattice


def _conserves_energy(metadata: dict[str, Any]) -> bool:
    settings = metadata.get("settings") or {}
    production = settings.get("production", "nve")
    return metadata.get("stage") == "production" and str(production).lower() == "nve"


def _spacing(metadata: dict[str, Any], time: npt.NDArray[np.float64]) -> float:
    """Time between frames, ASE units; 0 where there is none."""
    settings = metadata.get("settings") or {}
    interval = metadata.get("interval_steps", settings.get("interval_steps"))
    timestep = metadata.get("timestep_fs")
    if interval is not None and timestep is not None:
        return float(timestep) * float(interval) * units.FS
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _check_spacing(time: npt.NDArray[np.float64], spacing: float, path: Path) -> None:
    """Refuse base steps that the times of the frames contradict."""
    steps = np.diff(time)
    if len(steps) and not (np.abs(steps - spacing) < SPACING_TOLERANCE * spacing).any():
        raise ValueError(
            f"{path} has frames {np.median(steps) / units.FS:g} fs apart by its time, but "
            f"{spacing / units.FS:g} fs by timestep_fs times interval_steps of its metadata; "
            "write what is right"
        )


def _runs(
    time: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_], spacing: float
) -> list[tuple[int, int]]:
    """Runs of at least two frames, counted among the kept ones."""
    steady = np.abs(np.diff(time) - spacing) < SPACING_TOLERANCE * spacing
    joined = (steady & keep[1:] & keep[:-1])[keep[:-1]]  # a kept frame with the one after it
    joined = joined[: int(keep.sum()) - 1]  # the last kept frame has none
    edges = np.flatnonzero(np.diff(np.concatenate(([False], joined, [False])).astype(int)))
    return [(int(first), int(last) + 1) for first, last in edges.reshape(-1, 2)]
