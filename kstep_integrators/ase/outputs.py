"""Marks of a trajectory and a log at a checkpoint, and cutting both back to them.

Both files are only ever appended to. A file is cut in place, in constant time and without copying
what stays; an ASE trajectory is then, byte for byte, what it was at the checkpoint.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kstep_integrators.files import flush_to_disk

__all__ = ["LogMark", "Marks", "Outputs", "TrajectoryMark"]

_TAIL = 4096
"""Bytes at the end of a log by which it is known again."""
_HEADER = struct.Struct("<8s16s3q")
"""Head of an ASE trajectory (:mod:`ase.io.ulm`): magic, tag, version, frames, offset table."""
_COUNTS = 32
"""Offset in the head of the number of frames and the position of the offset table."""


@dataclass(frozen=True)
class LogMark:
    """A log at a checkpoint.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str
        Of the last 4096 of them.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class TrajectoryMark:
    """An ASE trajectory file at a checkpoint.

    Attributes
    ----------
    frames : int
    size : int
        Bytes.
    table : int
        Position of the table of frames in the file.
    sha256 : str
        Of the description of the last frame, its energy included.
    """

    frames: int
    size: int
    table: int
    sha256: str


@dataclass(frozen=True)
class Marks:
    """Both files at a checkpoint; None for one that the run does not write."""

    trajectory: TrajectoryMark | None
    log: LogMark | None


@dataclass(frozen=True)
class Outputs:
    """The files that a run appends to.

    Attributes
    ----------
    trajectory : Path or None
        An ASE trajectory.
    log : Path or None
        Text.
    """

    trajectory: Path | None
    log: Path | None

    def mark(self) -> Marks:
        """Mark the files as they are now, after their content has reached the disk.

        Raises
        ------
        ValueError
            If the trajectory is not an ASE trajectory.
        """
        return Marks(
            None if self.trajectory is None else _mark_trajectory(self.trajectory),
            None if self.log is None else _mark_log(self.log),
        )

    def check(self, marks: Marks) -> None:
        """Refuse files that are not those that were marked, grown or not; nothing is changed.

        Raises
        ------
        ValueError
            If one is missing, shorter, or another.
        """
        if self.trajectory is not None and marks.trajectory is not None:
            _check_trajectory(self.trajectory, marks.trajectory)
        if self.log is not None and marks.log is not None:
            _check_log(self.log, marks.log)

    def cut(self, marks: Marks) -> None:
        """Cut off what was written after the marks.

        Raises
        ------
        ValueError
            As :meth:`check`, before anything is changed.
        """
        self.check(marks)
        if self.trajectory is not None and marks.trajectory is not None:
            _cut_trajectory(self.trajectory, marks.trajectory)
        if self.log is not None and marks.log is not None and self.log.exists():
            os.truncate(self.log, marks.log.size)


def _mark_log(path: Path) -> LogMark:
    if not path.exists():
        return LogMark(0, hashlib.sha256().hexdigest())
    flush_to_disk(path)
    size = path.stat().st_size
    return LogMark(size, _tail(path, size))


def _tail(path: Path, size: int) -> str:
    with open(path, "rb") as handle:
        handle.seek(max(0, size - _TAIL))
        return hashlib.sha256(handle.read(min(size, _TAIL))).hexdigest()


def _check_log(path: Path, mark: LogMark) -> None:
    size = path.stat().st_size if path.exists() else 0
    if size < mark.size:
        raise ValueError(
            f"the log {path} holds {size} bytes, fewer than the {mark.size} that it held at the "
            "checkpoint: it was moved, changed or begun anew. Put it back, or start a new run"
        )
    if _tail(path, mark.size) != mark.sha256:
        raise ValueError(
            f"the log {path} is not the one that the checkpoint was written with: its lines differ"
        )


def _mark_trajectory(path: Path) -> TrajectoryMark:
    if not path.exists() or path.stat().st_size == 0:
        return TrajectoryMark(0, 0, 0, "")
    flush_to_disk(path)
    with open(path, "rb") as handle:
        frames, table = _counts(handle, path)
        size = handle.seek(0, os.SEEK_END)
        return TrajectoryMark(frames, size, table, _last_frame(handle, frames, table))


def _counts(handle: IO[bytes], path: Path) -> tuple[int, int]:
    head = handle.read(_HEADER.size)
    if len(head) == _HEADER.size:
        magic, tag, version, frames, table = _HEADER.unpack(head)
        if (magic, tag.rstrip(), version) == (b"- of Ulm", b"ASE-Trajectory", 3):
            return frames, table
    raise ValueError(f"{path} is not an ASE trajectory of format version 3")


def _last_frame(handle: IO[bytes], frames: int, table: int) -> str:
    """SHA-256 of the JSON part of the last frame that a table names; empty if there is none."""
    if frames == 0:
        return ""
    size = handle.seek(0, os.SEEK_END)

    def integer(position: int) -> int:
        handle.seek(position)
        return int.from_bytes(handle.read(8), "little")

    start = integer(table + 8 * (frames - 1))
    length = integer(start) if start < size else size
    # In another file a number stands here that may mean anything.
    return hashlib.sha256(handle.read(length)).hexdigest() if start + 8 + length <= size else ""


def _check_trajectory(path: Path, mark: TrajectoryMark) -> None:
    now = _mark_trajectory(path)
    if now.frames < mark.frames or now.size < mark.size:
        raise ValueError(
            f"the trajectory {path} holds {now.frames} frames, the checkpoint was written after "
            f"{mark.frames}: it was moved, cut or begun anew. Put it back, or start a new run"
        )
    if mark.frames:
        with open(path, "rb") as handle:
            same = _last_frame(handle, mark.frames, mark.table) == mark.sha256
        if not same:
            raise ValueError(
                f"the trajectory {path} is not the one that the checkpoint was written with: its "
                f"frame {mark.frames - 1} differs"
            )


def _cut_trajectory(path: Path, mark: TrajectoryMark) -> None:
    """Cut off the frames after the mark.

    The number of frames is set back first, in one write, so that a process that dies in between
    leaves a sound trajectory.
    """
    if not path.exists() or _mark_trajectory(path) == mark:
        return
    with open(path, "r+b", buffering=0) as handle:
        if mark.size:
            handle.seek(_COUNTS)
            handle.write(struct.pack("<2q", mark.frames, mark.table))
            os.fsync(handle.fileno())
        handle.truncate(mark.size)
        os.fsync(handle.fileno())
