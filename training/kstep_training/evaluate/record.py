"""Record of one run: its frames and its bookkeeping, in memory and on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_integrators.files import atomic_file

__all__ = ["EachFrame", "Frame", "Record", "read_record", "record_of", "write_record"]

Array = NDArray[np.float64]
Frame = tuple[Array, Array, float]
"""Positions, momenta, potential energy."""
EachFrame = Callable[[int, Atoms, int], None]
"""Called with the number of a run, its atoms at a new frame, and the evaluations counted so far."""


@dataclass(frozen=True)
class Record:
    """A run: F frames of N atoms at equal intervals, the start first; ASE units.

    Attributes
    ----------
    numbers : (N,) int
    masses : (N,) u
    time : (F,) ASE time units
        Of the clock of the run: a rejected stride moves nothing, but takes its place.
    positions : (F, N, 3) angstrom
    momenta : (F, N, 3)
        NaN where none are known: inside a jump that was undone, in a file without any.
    energies : (F,) eV
        Potential energies of the physics, as the run reported them, or where it has estimates,
        computed for the record; NaN where none are known, as inside strides.
    facts : dict
        Bookkeeping, where it applies: ``evaluations`` as the run reported them and ``counted``
        inside the calculator; ``scf_cycles``; ``seconds``, ``physics_seconds``, ``jump_seconds``;
        ``residual_rms`` (eV/A), ``energy_error`` and ``estimate_error`` (eV) as reported;
        ``estimate_errors`` (eV) as found at the landings by ``record_evaluations``, which are none
        of the run's; ``verifications``, its own, which are counted; ``jumps``, ``fallbacks``,
        ``accepted``, ``flips``, ``bond_changes``, ``warnings``; ``error``, why the run did not come
        to its end; ``spot``, results of fresh calculators at some landings.
    cell : (3, 3) angstrom
    pbc : (bool, bool, bool)

    Examples
    --------
    >>> from ase.build import molecule
    >>> atoms = molecule("H2")
    >>> frame = (atoms.positions, atoms.get_momenta(), -31.7)
    >>> record = record_of(atoms, 2.0, [frame, frame], {"error": ""})
    >>> len(record), record.whole
    (2, True)
    """

    numbers: NDArray[np.int64]
    masses: Array
    time: Array
    positions: Array
    momenta: Array
    energies: Array
    facts: dict[str, Any]
    cell: Array = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: tuple[bool, bool, bool] = (False, False, False)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def landings(self) -> NDArray[np.int64]:
        """Frames at which the run knows the physics; all, if it knows none."""
        known = np.flatnonzero(np.isfinite(self.energies))
        return known if len(known) else np.arange(len(self))

    @property
    def interval(self) -> float:
        """Time between two frames, ASE units."""
        return float(self.time[1] - self.time[0])

    @property
    def whole(self) -> bool:
        """True if the run came to its end."""
        return not self.facts.get("error")


def record_of(
    atoms: Atoms, frame_fs: float, frames: Sequence[Frame], facts: dict[str, Any]
) -> Record:
    """Record of an isolated molecule's run from its frames.

    Parameters
    ----------
    atoms : ase.Atoms
        For elements and masses.
    frame_fs : float
        Interval of the frames, fs.
    frames : sequence of Frame
        ASE units; at least one.
    facts : dict
        As :class:`Record` has them.
    """
    x, p, e = zip(*frames, strict=True)
    return Record(
        atoms.numbers.astype(np.int64),
        atoms.get_masses(),
        np.arange(len(frames), dtype=np.float64) * (frame_fs * units.FS),
        np.array(x),
        np.array(p),
        np.array(e),
        facts,
    )


def write_record(path: Path, record: Record) -> None:
    """Write a run of an isolated molecule atomically; positions and momenta in single precision."""
    with atomic_file(path) as handle:
        np.savez_compressed(
            handle,
            numbers=record.numbers,
            masses=record.masses,
            time=record.time,
            positions=record.positions.astype(np.float32),
            momenta=record.momenta.astype(np.float32),
            energies=record.energies,
            facts=np.array(json.dumps(record.facts)),
        )


def read_record(path: Path) -> Record:
    """Read a run; nothing is unpickled.

    Raises
    ------
    ValueError
        If the file is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Record(
                file["numbers"],
                file["masses"],
                file["time"],
                file["positions"].astype(np.float64),
                file["momenta"].astype(np.float64),
                file["energies"],
                json.loads(str(file["facts"])),
            )
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not the record of a run: {error}; delete it") from error
