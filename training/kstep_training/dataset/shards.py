"""Writing one shard: the labelled frames of a trajectory, and a record of them beside it.

The record, ``NAME.json``, holds what the statistics of the dataset need, so that a finished shard
is never read again when trajectories are added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kstep_integrators.files import atomic_file, write_text_atomically
from kstep_training.dataset.dataset_file import file_hash
from kstep_training.dataset.internal_coordinates import (
    KINDS,
    coordinate_moments,
    internal_coordinates,
)
from kstep_training.dataset.segments import Frames, labelled_frames
from kstep_training.dataset.statistics import closest, closest_in_cells, increment_sums
from kstep_training.trajectory import ESTIMATES, Trajectory, read_npz

__all__ = ["Windows", "read_record", "same_identity", "source_stamps", "write_shard"]

Windows = tuple[Sequence[int], int, bool]
"""Strides, frames between window starts, time-reversed twins."""


def source_stamps(files: Sequence[Path]) -> list[list[Any]]:
    """Path, size and time of change of each file: whether a shard is still that of its sources.

    Raises
    ------
    FileNotFoundError
        If a file is gone.
    """
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}, from which a shard of this dataset was made, is gone, and the shard "
                "cannot be extended; bring the file back or choose another folder"
            )
    stats = [(str(path), path.stat()) for path in files]
    return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def read_record(folder: Path, name: str) -> dict[str, Any] | None:
    """The record of a finished shard, if its file is there with the size on record."""
    record, shard = folder / f"{name}.json", folder / f"{name}.npy"
    if not (record.is_file() and shard.is_file()):
        return None
    # Shards of before spins and cells were kept are of closed shells, and in no cell.
    before = {"multiplicity": 1, "pbc": [False] * 3}
    content: dict[str, Any] = {**before, **json.loads(record.read_text())}
    return content if shard.stat().st_size == content["bytes"] else None


def write_shard(
    folder: Path,
    name: str,
    files: Sequence[Path],
    windows: Windows,
    coordinates: Mapping[str, Mapping[str, list[list[int]]]],
) -> dict[str, Any]:
    """Join the files of one trajectory to a shard.

    Parameters
    ----------
    folder : Path
        Gets ``NAME.npy`` and then ``NAME.json``.
    name : str
    files : sequence of Path
        NPZ of schema 1.
    windows : Windows
    coordinates : mapping
        Internal coordinates of the molecules that have shards already, which this one shares.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ValueError
        If a file cannot be used, has no labelled frame, or disagrees with another one.
    """
    stamps = source_stamps(files)
    trajectories = [read_npz(path) for path in files]
    identity = _identity(files[0], trajectories[0])
    parts: list[Frames] = []
    for path, trajectory in zip(files, trajectories, strict=True):
        same_identity(f"{path}", _identity(path, trajectory), f"{files[0]}", identity)
        parts.append(labelled_frames(trajectory, path))
    _check_copies(files, parts)
    rows = np.concatenate([part.rows for part in parts])
    if not len(rows):
        why = ""
        if any(ESTIMATES in trajectory.metadata for trajectory in trajectories):
            why = (
                ": energies and forces of a run with corrector='mollified' are estimates, and what "
                "it computed is in its labels"
            )
        raise ValueError(f"{files[0]} (trajectory {name}) has no labelled frame{why}; leave it out")
    timestep = _timestep(files, parts)
    offsets = np.cumsum([0] + [len(part.rows) for part in parts]).tolist()
    segments = [
        (first + offset, end + offset)
        for part, offset in zip(parts, offsets[:-1], strict=True)
        for first, end in part.segments
    ]
    numbers, masses = trajectories[0].numbers, trajectories[0].masses
    lowest = rows["positions"][int(rows["energy"].argmin())]
    in_cell = any(identity["pbc"])
    if in_cell:  # bonds in cells are not looked at
        indices: Mapping[str, list[list[int]]] = {kind: [] for kind in KINDS}
    else:
        indices = coordinates.get(identity["molecule"]) or internal_coordinates(numbers, lowest)
    thermal = np.concatenate([np.full(len(part.rows), part.thermal) for part in parts])
    sums: dict[str, Any] = {
        "energy": float(rows["energy"].sum()),
        "closest": closest_in_cells(numbers, rows, identity["pbc"])
        if in_cell
        else closest(numbers, rows),
        "increments": increment_sums(numbers, masses, rows, segments, timestep or 0.0, windows),
        "thermal": 0 if in_cell else int(thermal.sum()),
    }
    if sums["thermal"]:
        sums["moments"] = coordinate_moments(rows["positions"][thermal], dict(indices))
    path = folder / f"{name}.npy"
    with atomic_file(path) as handle:
        np.save(handle, rows, allow_pickle=False)
    record = {
        "name": name,
        **identity,
        "timestep_fs": timestep,
        "frames": len(rows),
        "segments": segments,
        "bytes": path.stat().st_size,
        "sha256": file_hash(path),
        "sources": stamps,
        "coordinates": indices,
        "sums": sums,
    }
    write_text_atomically(folder / f"{name}.json", json.dumps(record))
    loaded: dict[str, Any] = json.loads(json.dumps(record))
    return loaded


def _identity(path: Path, trajectory: Trajectory) -> dict[str, Any]:
    metadata = trajectory.metadata
    if "method" not in metadata:
        raise ValueError(f"{path} does not say by which method it was made (metadata 'method')")
    return {
        "molecule": str(metadata.get("name", path.stem)),
        "numbers": trajectory.numbers.tolist(),
        "masses": trajectory.masses.tolist(),
        "method": metadata["method"],
        "constraints": metadata.get("constraints"),
        "smiles": metadata.get("smiles"),
        "charge": metadata.get("charge", 0),
        "multiplicity": metadata.get("multiplicity", 1),
        "pbc": trajectory.pbc.tolist(),
    }


def same_identity(
    where: str, record: Mapping[str, Any], other: str, expected: Mapping[str, Any]
) -> None:
    """Refuse what differs.

    Raises
    ------
    ValueError
        That names the key and both values.
    """
    for key, value in expected.items():
        if record[key] != value:
            raise ValueError(
                f"{where} has {key} {record[key]!r}, but {other} has {value!r}; they cannot be in "
                "one dataset"
            )


def _check_copies(files: Sequence[Path], parts: Sequence[Frames]) -> None:
    """Refuse a file that is given twice, under two paths: it would count twice."""
    seen: dict[bytes, Path] = {}
    for path, part in zip(files, parts, strict=True):
        other = seen.setdefault(part.rows.tobytes(), path)
        if len(part.rows) and other != path:
            raise ValueError(f"{path} holds the same frames as {other}; give one of them only")


def _timestep(files: Sequence[Path], parts: Sequence[Frames]) -> float | None:
    steps = {part.timestep_fs: path for path, part in zip(files, parts, strict=True)}
    steps.pop(None, None)
    if len(steps) > 1:
        (one, here), (two, there) = list(steps.items())[:2]
        raise ValueError(
            f"{here} has frames every {one:g} fs, but {there} every {two:g} fs; they cannot be in "
            "one dataset"
        )
    return next(iter(steps), None)
