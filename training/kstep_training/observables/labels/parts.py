"""Trajectories cut into parts of frames that are labelled as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.units import FS
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.observables.labels.settings import LabelSettings
from kstep_training.trajectory import read_npz

__all__ = ["TrajectoryPart", "cut_trajectories", "trajectory_name"]

_RUN = ("run", "trajectory", "traj", "md")
"""Names of trajectories that say nothing; their folder's does."""


@dataclass(frozen=True)
class TrajectoryPart:
    """Frames of one trajectory that are labelled together.

    Attributes
    ----------
    name : str
        ``TRAJECTORY.NUMBER``.
    trajectory : str
    frames : tuple of ase.Atoms
    places : (F,) int
        Of the frames in the trajectory's file.
    time_fs : (F,)
        NaN if unknown.
    reference : ase.Atoms
        First labelled frame of the trajectory.
    """

    name: str
    trajectory: str
    frames: tuple[Atoms, ...]
    places: npt.NDArray[np.int64]
    time_fs: npt.NDArray[np.floating[Any]]
    reference: Atoms

    @property
    def digest(self) -> str:
        """SHA-256 of elements and positions, by which a part is known again."""
        sha = hashlib.sha256(self.frames[0].numbers.astype("<i8").tobytes())
        for atoms in (self.reference, *self.frames):
            sha.update(atoms.positions.astype("<f8").tobytes())
        return sha.hexdigest()


def trajectory_name(path: Path) -> str:
    """Name of a trajectory in a folder of labels: of its file, or of its folder if that says more.

    Examples
    --------
    >>> trajectory_name(Path("ethylene.0/run.traj")), trajectory_name(Path("pair-7.xyz"))
    ('ethylene.0', 'pair-7')
    """
    stem = path.name.removesuffix(path.suffix)
    return path.absolute().parent.name if stem in _RUN else stem


def cut_trajectories(paths: Sequence[Path], settings: LabelSettings) -> list[TrajectoryPart]:
    """The parts of trajectories, in their order.

    Parameters
    ----------
    paths : sequence of Path
        Of files that ASE reads, or NPZ shards of ``kstep simulate``.
    settings : LabelSettings

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file cannot be read, has no frame that is asked for, frames of different atoms or of
        another charge or multiplicity than labels are made with, or two trajectories have one name.
    """
    parts: list[TrajectoryPart] = []
    known: dict[str, Path] = {}
    for path in paths:
        name = trajectory_name(path)
        if name in known:
            raise ValueError(
                f"{known[name]} and {path} are both called {name!r} in a folder of labels; rename "
                "one, or label them into different folders"
            )
        known[name] = path
        parts += _cut(path, name, settings)
    return parts


def _cut(path: Path, name: str, settings: LabelSettings) -> list[TrajectoryPart]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no trajectory {path}")
    frames, time = _frames(path)
    stop = None if settings.frames is None else settings.first + settings.frames * settings.stride
    places = np.arange(len(frames))[settings.first : stop : settings.stride]
    if not len(places):
        raise ValueError(
            f"{path} has {len(frames)} frames, and first is {settings.first}; nothing to label"
        )
    if time is None:
        interval = np.nan if settings.interval_fs is None else settings.interval_fs
        time = interval * np.arange(len(frames), dtype=np.float64)
    elif settings.interval_fs is not None:
        raise ValueError(
            f"interval_fs is {settings.interval_fs}, but {path} says the time of its frames; leave "
            "it out"
        )
    reference = frames[places[0]]
    charge = getattr(settings, "charge", 0)  # couplings are those of neutral molecules
    for place in places:
        noted = electrons_noted(frames[place])
        for what, value, made in (
            ("charge", noted.charge, charge),
            ("multiplicity", noted.multiplicity, 1),
        ):
            if value not in (None, made):
                raise ValueError(
                    f"frame {place} of {path} has {what} {value}, and labels would be made with "
                    f"{what} {made}; expected frames of the {what} that labels are made with"
                )
        if not np.array_equal(frames[place].numbers, reference.numbers):
            raise ValueError(f"frame {place} of {path} has other atoms than frame {places[0]}")
    parts = []
    for number, start in enumerate(range(0, len(places), settings.part_frames)):
        some = places[start : start + settings.part_frames]
        labelled = tuple(_bare(frames[place]) for place in some)
        parts.append(
            TrajectoryPart(f"{name}.{number}", name, labelled, some, time[some], _bare(reference))
        )
    return parts


def _frames(path: Path) -> tuple[Sequence[Atoms], npt.NDArray[np.floating[Any]] | None]:
    """Frames, and their times in fs."""
    if path.suffix == ".npz":
        shard = read_npz(path)
        found = [
            Atoms(shard.numbers, x, cell=cell, pbc=shard.pbc)
            for x, cell in zip(shard.positions, shard.cells, strict=True)
        ]
        return found, shard.time / FS
    read = read_frames(path)
    return read.atoms, None if read.time is None else read.time / FS


def _bare(atoms: Atoms) -> Atoms:
    """The geometry alone."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
