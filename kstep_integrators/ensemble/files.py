"""A trajectory and a log for each replica of an ensemble, whole after every frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.io import Trajectory, write
from ase.md.logger import MDLogger

from kstep_integrators.ase.outputs import Marks, Outputs
from kstep_integrators.ase.restart_file import free_path

__all__ = ["ReplicaFiles"]


@dataclass(frozen=True)
class _Clock:
    """Time of a frame, as a logger asks a dynamics for it (ASE units)."""

    time: float

    def get_time(self) -> float:
        return self.time


class ReplicaFiles:
    """Trajectories ``0000.traj``, ... and logs ``0000.log``, ... in one folder each.

    Parameters
    ----------
    trajectory, logfile : str, Path or None
        Folders, made if need be; both may be the same. None: no such files.
    count : int
        Replicas.
    resumed : sequence of Marks, optional
        Of a checkpoint, for each replica: the files are cut back to it.

    Raises
    ------
    FileExistsError
        If a folder holds files of an earlier run.
    NotADirectoryError
        If it is a file, or ``"-"``.
    ValueError
        If files do not belong to the checkpoint. Nothing has been changed then.
    """

    def __init__(
        self,
        trajectory: str | Path | None,
        logfile: str | Path | None,
        count: int,
        resumed: Sequence[Marks] | None = None,
    ) -> None:
        self._outputs = [
            Outputs(_path(trajectory, i, count, "traj"), _path(logfile, i, count, "log"))
            for i in range(count)
        ]
        self._unwritten: list[tuple[Callable[[int, Atoms], None], int, Atoms]] = []
        for folder, ending in ((trajectory, "traj"), (logfile, "log")):
            if folder is None:
                continue
            if folder == "-" or Path(folder).is_file():
                raise NotADirectoryError(
                    f"{'trajectory' if ending == 'traj' else 'logfile'} is {str(folder)!r}, "
                    f"expected a folder: every replica has a file of its own there, 0000.{ending}"
                )
            Path(folder).mkdir(parents=True, exist_ok=True)
            old = sorted(path.name for path in Path(folder).glob(f"*.{ending}"))
            if old and resumed is None:
                kind = "trajectories" if ending == "traj" else "logs"
                raise FileExistsError(
                    f"the folder {folder} holds {kind} already ({', '.join(old[:5])}); give "
                    "another one, or move them away"
                )
        if resumed is not None:
            for outputs, marks in zip(self._outputs, resumed, strict=True):
                outputs.check(marks)
            for outputs, marks in zip(self._outputs, resumed, strict=True):
                outputs.cut(marks)

    @property
    def any(self) -> bool:
        """True if there is anything to write."""
        return any(one.trajectory is not None or one.log is not None for one in self._outputs)

    @property
    def whole(self) -> bool:
        """True if every frame and line has been written."""
        return not self._unwritten

    def write(self, frames: Mapping[int, Atoms]) -> None:
        """Write a frame and a line of each replica; an interrupt leaves the rest to :meth:`finish`.

        Parameters
        ----------
        frames : mapping of int to ase.Atoms
            By the number of the replica.
        """
        self._unwritten = [
            (add, number, atoms)
            for number, atoms in frames.items()
            for add in (self.add_frame, self.add_line)
        ]
        self.finish()

    def finish(self) -> None:
        """Write what an interrupt has left unwritten."""
        while self._unwritten:
            add, number, atoms = self._unwritten[0]
            add(number, atoms)
            del self._unwritten[0]

    def add_frame(self, replica: int, atoms: Atoms) -> None:
        """Append a frame to the trajectory, if there is one."""
        path = self._outputs[replica].trajectory
        if path is not None:
            # Opened for each frame: no limit on the number of replicas, and nothing left to lose.
            with Trajectory(path, "a") as trajectory:
                trajectory.write(atoms)

    def add_line(self, replica: int, atoms: Atoms) -> None:
        """Append a line to the log, if there is one."""
        path = self._outputs[replica].log
        if path is not None:
            header = not (path.exists() and path.stat().st_size)
            clock = _Clock(atoms.info["time"])
            logger = MDLogger(clock, atoms, str(path), header=header, mode="a")
            logger()
            logger.close()

    def restart(self, replica: int, atoms: Atoms) -> Path | None:
        """Write the last good state of a replica that cannot go on, beside its trajectory."""
        trajectory = self._outputs[replica].trajectory
        if trajectory is None:
            return None
        path = free_path(trajectory.with_suffix(".restart.traj"))
        write(path, atoms)
        return path

    def mark(self) -> tuple[Marks, ...]:
        """Mark the files of all replicas as they are now, for a checkpoint."""
        return tuple(outputs.mark() for outputs in self._outputs)


def _path(folder: str | Path | None, replica: int, count: int, ending: str) -> Path | None:
    if folder is None:
        return None
    digits = max(4, len(str(count - 1)))
    return Path(folder).absolute() / f"{replica:0{digits}}.{ending}"
