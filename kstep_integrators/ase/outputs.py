"""Marks of a trajectory and a log at a checkpoint, and cutting both back to them.

Both files are only ever appended to. A file is cut in place, in constant time and without copying
what stays. Those of trajectories are in :mod:`kstep_integrators.trajectory_marks`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from kstep_integrators.files import flush_to_disk
from kstep_integrators.trajectory_marks import (
    TrajectoryMark,
    check_trajectory,
    cut_trajectory,
    mark_trajectory,
)

__all__ = ["LogMark", "Marks", "Outputs"]

_TAIL = 4096
"""Bytes at the end of a log by which it is known again."""


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
            None if self.trajectory is None else mark_trajectory(self.trajectory),
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
            check_trajectory(self.trajectory, marks.trajectory)
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
            cut_trajectory(self.trajectory, marks.trajectory)
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
