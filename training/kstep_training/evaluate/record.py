"""Record of one run: its frames and its bookkeeping, in memory and on disk.

Where a run has estimates of energies, those of the physics are computed for its record alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_integrators.files import atomic_file
from kstep_integrators.physics.calculation import ask
from kstep_integrators.physics.estimated import is_estimated
from kstep_integrators.physics.workers import CalculatorFactory

__all__ = [
    "EachFrame", "Frame", "Record", "RecordedEnergies", "read_record", "record_of", "surroundings",
    "write_record",
]  # fmt: skip

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
        Or (F, 3, 3) of a file whose cell changes.
    pbc : (bool, bool, bool)
    fixed : (N,) bool
        Atoms that are held where they are.

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
    fixed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if len(self.fixed) != len(self.numbers):
            object.__setattr__(self, "fixed", np.zeros(len(self.numbers), dtype=bool))

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


class RecordedEnergies:
    """Potential energies of the physics at the positions of runs, and what estimates are off by.

    A run whose corrector averages positions has computed the physics elsewhere. Its energy is
    judged by the physics where it is all the same; these evaluations are none of the run's.

    Parameters
    ----------
    physics : CalculatorFactory
        Makes a calculator for each run, beside the one that it has.

    Attributes
    ----------
    evaluations : dict of int to int
        Made for the record of each run, by its number.
    errors : dict of int to list of float
        Estimated minus computed energies of each run, eV.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.morse import MorsePotential
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> from kstep_integrators.physics.estimated import note_estimates
    >>> frame = molecule("N2")
    >>> frame.calc = SinglePointCalculator(frame, energy=0.5)
    >>> energies = RecordedEnergies(lambda atoms: MorsePotential(r0=frame.get_distance(0, 1)))
    >>> energies(0, frame), energies.evaluations
    (0.5, {})
    >>> note_estimates(frame, True)
    >>> round(energies(0, frame), 9), energies.evaluations, energies.errors
    (-1.0, {0: 1}, {0: [1.5]})
    """

    def __init__(self, physics: CalculatorFactory) -> None:
        self.physics = physics
        self.evaluations: dict[int, int] = {}
        self.errors: dict[int, list[float]] = {}
        self._atoms: dict[int, Atoms] = {}

    def __call__(self, number: int, frame: Atoms) -> float:
        """The energy at a frame of a run, eV; NaN if it cannot be computed."""
        known = np.nan if frame.calc is None else float(frame.calc.results["energy"])
        if not is_estimated(frame):
            return known
        here = self._atoms.get(number)
        if here is None:
            here = self._atoms[number] = frame.copy()
            here.calc = self.physics(frame.copy())
        here.positions[:] = frame.positions
        answer = ask(here, False)
        self.evaluations[number] = self.evaluations.get(number, 0) + 1
        if answer.failure:
            return np.nan
        self.errors.setdefault(number, []).append(known - float(answer.energy))
        return float(answer.energy)


def record_of(
    atoms: Atoms, frame_fs: float, frames: Sequence[Frame], facts: dict[str, Any]
) -> Record:
    """Record of a run from its frames.

    Parameters
    ----------
    atoms : ase.Atoms
        For elements, masses, cell and fixed atoms.
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
        *surroundings(atoms),
    )


def surroundings(atoms: Atoms) -> tuple[Array, tuple[bool, bool, bool], NDArray[np.bool_]]:
    """Cell, periodic directions and fixed atoms, the last fields of a record."""
    pbc = tuple(bool(along) for along in atoms.pbc)
    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.get_indices()] = True
    return atoms.cell.array.copy(), (pbc[0], pbc[1], pbc[2]), fixed


def write_record(path: Path, record: Record) -> None:
    """Write a run atomically; positions and momenta in single precision."""
    kept: dict[str, Any] = {}
    if any(record.pbc) or record.fixed.any():
        kept = {"cell": record.cell, "pbc": np.array(record.pbc), "fixed": record.fixed}
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
            **kept,
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
            around = {}
            if "cell" in file:  # of isolated molecules there is none
                pbc = tuple(bool(along) for along in file["pbc"])
                around = {"cell": file["cell"], "pbc": pbc, "fixed": file["fixed"]}
            return Record(
                file["numbers"],
                file["masses"],
                file["time"],
                file["positions"].astype(np.float64),
                file["momenta"].astype(np.float64),
                file["energies"],
                json.loads(str(file["facts"])),
                **around,
            )
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not the record of a run: {error}; delete it") from error
