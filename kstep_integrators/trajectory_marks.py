"""Marks of an ASE trajectory that is appended to, and cutting it back to one.

A file is cut in place, in constant time and without copying what stays; it is then, byte for byte,
what it was when it was marked.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kstep_integrators.files import flush_to_disk

__all__ = [
    "HEAD_SIZE",
    "TrajectoryMark",
    "check_trajectory",
    "cut_trajectory",
    "mark_trajectory",
    "set_frames",
]

_HEADER = struct.Struct("<8s16s3q")
"""Head of an ASE trajectory (:mod:`ase.io.ulm`): magic, tag, version, frames, offset table."""
HEAD_SIZE = _HEADER.size
_COUNTS = 32
"""Offset in the head of the number of frames and the position of the offset table."""


@dataclass(frozen=True)
class TrajectoryMark:
    """An ASE trajectory file at one moment, such as that of a checkpoint.

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


def mark_trajectory(path: Path) -> TrajectoryMark:
    """Mark a file as it is now, after its content has reached the disk.

    Raises
    ------
    ValueError
        If it is not an ASE trajectory.
    """
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


def check_trajectory(path: Path, mark: TrajectoryMark) -> None:
    """Refuse a file that is not the one that was marked, grown or not.

    Raises
    ------
    ValueError
        If it is missing, shorter, or another.
    """
    now = mark_trajectory(path)
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


def cut_trajectory(path: Path, mark: TrajectoryMark) -> None:
    """Cut off the frames after the mark.

    The number of frames is set back first, in one write, so that a process that dies in between
    leaves a sound trajectory.
    """
    if not path.exists() or mark_trajectory(path) == mark:
        return
    with open(path, "r+b", buffering=0) as handle:
        if mark.size:
            handle.seek(_COUNTS)
            handle.write(struct.pack("<2q", mark.frames, mark.table))
            os.fsync(handle.fileno())
        handle.truncate(mark.size)
        os.fsync(handle.fileno())


def set_frames(path: Path, frames: int) -> None:
    """Set back the number of frames of a file, whose last ones a crash has left unreadable."""
    with open(path, "r+b", buffering=0) as handle:
        handle.seek(_COUNTS)
        handle.write(struct.pack("<q", frames))
        os.fsync(handle.fileno())
