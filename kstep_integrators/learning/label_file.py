"""The file of a run's labels: an ASE trajectory that each label is appended to as it comes."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ase import Atoms
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from kstep_integrators.learning.labels import INFO, Label, key_of, template_hash
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.identity import changed_settings
from kstep_integrators.trajectory_marks import (
    HEAD_SIZE,
    TrajectoryMark,
    mark_trajectory,
    set_frames,
)

__all__ = ["LabelFile", "physics_of"]

_PHYSICS = "kstep_physics"
"""Key of the physics (:func:`settings_of`) in the description of a trajectory."""


_HEAD = b"- of UlmASE-Trajectory"
"""First bytes of a trajectory of ASE."""
_TEMPLATES = 4096
"""Molecules whose hashes are remembered at once."""


class LabelFile(Sequence[Label]):
    """The labels of a run on disk, appended to one by one and read back bit for bit.

    A label is in the file, whole, before :meth:`append` returns, and a process that is killed at
    any moment leaves a file with all earlier ones. It is an ordinary trajectory of ASE, with the
    settings of the physics in its description.

    A run that was interrupted, and goes on from a checkpoint with fewer labels, finds the others
    here by their geometry (:meth:`take`), once each.

    Parameters
    ----------
    path : str or Path
        Its file is begun, or gone on with.
    physics : mapping of str to str
        Settings of the physics, of :func:`kstep_integrators.physics.identity.settings_of`.
    known : int, optional
        How many of the labels in the file the run has: as many as there were at the checkpoint that
        it goes on from, 0 for one that begins anew and is to be served with those of an earlier
        attempt. By default all.

    Raises
    ------
    ValueError
        If the file is no ASE trajectory, holds fewer labels than ``known`` or frames without an
        energy, or its labels are of another physics. Nothing has been changed then.

    Warns
    -----
    KStepWarning
        If its last frames cannot be read, as after a loss of power: they are cut off.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators.physics.identity import settings_of
    >>> path = Path(tempfile.mkdtemp()) / "run.labels.traj"
    >>> with LabelFile(path, settings_of(LennardJones())) as labels:
    ...     labels.append(Label.of(molecule("H2O"), energy=-14.0, forces=None))
    ...     len(labels), labels[0].energy
    (1, -14.0)
    """

    def __init__(
        self, path: str | Path, physics: Mapping[str, str], known: int | None = None
    ) -> None:
        self.path = Path(path)
        self.physics = dict(physics)
        self._hashes: dict[int, tuple[Atoms, str]] = {}
        self._known: dict[bytes, bool] = {}
        self._pending: dict[bytes, int] = {}
        self._count = self._read(known)
        if not self._count and self.path.exists():
            os.truncate(self.path, 0)  # of a head that was not written to its end
        # ASE's own writer keeps the order that a kill needs: data, table, place, count.
        self._writer = TrajectoryWriter(self.path, "a")
        if not self._count:
            self._writer.set_description({_PHYSICS: self.physics})
        self.close = weakref.finalize(self, self._writer.close)

    def _read(self, known: int | None) -> int:
        """Check what there is, and find the labels that the run does not have yet."""
        count = 0 if _is_begun(self.path) else mark_trajectory(self.path).frames
        if known is not None and count < known:
            raise ValueError(
                f"the file of labels {self.path} holds {count}, the checkpoint was written after "
                f"{known}: it was moved, cut or begun anew. Put it back, or start a new run"
            )
        if count == 0:
            return 0
        with TrajectoryReader(self.path) as frames:
            before = physics_of(frames, self.path)
            if before is not None and before != self.physics:
                raise ValueError(
                    f"the labels in {self.path} are of another physics: "
                    f"{'; '.join(changed_settings(before, self.physics))}. Give the physics that "
                    "they were computed with, or another file"
                )
            if before is None:
                raise ValueError(
                    f"{self.path} does not say which physics its {count} frames are of: it is no "
                    "file of labels of a run. Give another name, and this one as the labels of an "
                    "earlier run"
                )
            for number in range(count):
                try:
                    frame = frames[number]
                    label = Label.from_frame(frame)
                except Exception as error:
                    if known is not None and number < known:
                        raise ValueError(
                            f"frame {number} of {self.path} cannot be read as a label: {error}"
                        ) from error
                    self._cut(number, count, error)
                    return number
                key = self._key(label, frame.info.get(INFO, {}).get("template"))
                if known is None or number < known:
                    self._known[key] = self._known.get(key, False) or label.forces is not None
                else:
                    self._pending[key] = number
        return count

    def _cut(self, number: int, count: int, error: Exception) -> None:
        warnings.warn(
            f"the last {count - number} of {count} labels in {self.path} cannot be read ({error}), "
            "as after a loss of power: they are cut off",
            KStepWarning,
            stacklevel=4,
        )
        set_frames(self.path, number)

    def _key(self, label: Label, template: str | None = None) -> bytes:
        known = self.hash_of(label.template) if template is None else template
        return key_of(label.molecule, known, label.positions, label.cell, label.pbc)

    def hash_of(self, template: Atoms | None) -> str:
        """What a molecule is, but for its geometry; templates are not edited in place."""
        if template is None:
            return ""
        kept = self._hashes.get(id(template))
        if kept is None or kept[0] is not template:
            if len(self._hashes) >= _TEMPLATES:
                self._hashes.clear()
            kept = self._hashes[id(template)] = (template, template_hash(template))
        return kept[1]

    def append(self, label: Label) -> None:
        """Write a label at the end.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        frame = label.atoms()
        template = self.hash_of(label.template)
        frame.info[INFO]["template"] = template
        # Handed over by name they are not compared with the atoms once more, which takes longer.
        results, frame.calc = frame.calc.results, None
        self._writer.write(frame, **results)
        self._count += 1
        self._known[self._key(label, template)] = label.forces is not None

    def has(self, key: bytes, forces: bool) -> bool:
        """Whether the run has a label of this key (:func:`key_of`), with forces if it is asked."""
        there = self._known.get(key)
        return there is not None and (there or not forces)

    def take(self, key: bytes, forces: bool) -> Label | None:
        """A label that the file has and the run has not: from now on it has it.

        Parameters
        ----------
        key : bytes
            Of :func:`key_of`.
        forces : bool
            Whether one without forces is too little.
        """
        number = self._pending.get(key)
        if number is None:
            return None
        label = self[number]
        if forces and label.forces is None:
            return None
        del self._pending[key]
        self._known[key] = label.forces is not None
        return label

    @property
    def pending(self) -> int:
        """Labels in the file that the run has not asked for."""
        return len(self._pending)

    def mark(self) -> TrajectoryMark:
        """The file as it is now, on the disk, to be known again by a checkpoint.

        Checked with :func:`kstep_integrators.trajectory_marks.check_trajectory`.
        """
        return mark_trajectory(self.path)

    def __len__(self) -> int:
        """Labels in the file."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice) -> list[Label]: ...
    def __getitem__(self, index: int | slice) -> Label | list[Label]:
        """Read some of them."""
        if isinstance(index, slice):
            return list(self._labels(range(self._count)[index]))
        return next(self._labels([range(self._count)[index]]))

    def __iter__(self) -> Iterator[Label]:
        """Read all, one by one."""
        return self._labels(range(self._count))

    def _labels(self, numbers: Sequence[int]) -> Iterator[Label]:
        if not numbers:  # a file without frames cannot be read
            return
        with TrajectoryReader(self.path) as frames:
            for number in numbers:
                yield Label.from_frame(frames[number])

    def __enter__(self) -> LabelFile:
        """The file itself, closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _is_begun(path: Path) -> bool:
    """Whether a file holds no more than the beginning of a head."""
    if not path.exists():
        return True
    with open(path, "rb") as handle:
        there = handle.read(HEAD_SIZE)
    return len(there) < HEAD_SIZE and (_HEAD.startswith(there) or there.startswith(_HEAD))


def physics_of(frames: Any, path: Path) -> dict[str, str] | None:
    """Settings of the physics that an open trajectory is of; None if it does not say.

    Raises
    ------
    ValueError
        If what stands there is no text by name.
    """
    said = (frames.description or {}).get(_PHYSICS)
    if said is None:
        return None
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError(f"the physics that {path} names is {said!r}, expected texts by name")
    return {str(name): value for name, value in said.items()}
