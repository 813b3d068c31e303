"""Reading of trajectories made elsewhere: NPZ, what ASE reads, DCD and others with a topology."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from kstep_integrators import units
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.estimated import is_estimated
from kstep_training.evaluate.record import Array, Record
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.inputs.format_units import TIME_UNITS, GivenUnits
from kstep_training.trajectory import ESTIMATES, read_npz

__all__ = ["MDANALYSIS_SUFFIXES", "read_trajectory"]

MDANALYSIS_SUFFIXES = (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".h5md", ".h5")
"""Of files that MDAnalysis reads."""

_CREATORS = ("openmm", "charmm", "namd")
"""Programs that write the step of a DCD file in the unit of CHARMM, and their names in it."""


def read_trajectory(
    path: str | Path,
    topology: str | Path | None = None,
    interval_fs: float = 0.0,
    given: GivenUnits | None = None,
) -> Record:
    """Read one run from a file.

    Parameters
    ----------
    path : path
        ``.npz`` of schema version 1; ``.dcd`` and other formats of MDAnalysis, with a topology; or
        anything that ASE reads.
    topology : path, optional
        Of formats that do not say which atoms there are: a PDB, PSF or the like.
    interval_fs : float
        Between frames, for files that do not say; 0 if they do.
    given : GivenUnits, optional
        Units of what the file leaves open; :data:`~kstep_training.inputs.format_units.FORMATS`
        has those that are known.

    Returns
    -------
    Record
        Momenta and energies are NaN where the file has none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, has fewer than two frames, says nothing of time, or not in which
        unit, and ``interval_fs`` is 0; or if a unit is given for what has its own.
    ImportError
        If MDAnalysis is needed and missing.

    Warns
    -----
    KStepWarning
        If ``interval_fs`` is not what the file says; of velocities without a unit, and of
        energies that are estimates of a run with ``corrector="mollified"``: both are left out.
    """
    path, given = Path(path), given or GivenUnits()
    for file in (path, *([Path(topology)] if topology is not None else [])):
        if not file.is_file():
            raise FileNotFoundError(f"no file {file}")
    if path.suffix in (".npz", *MDANALYSIS_SUFFIXES):
        for name, value in vars(given).items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value!r}, but units of {path.suffix} files are known; leave it out"
                )
    if path.suffix == ".npz":
        columns = _from_npz(path)
    elif path.suffix in MDANALYSIS_SUFFIXES:
        if topology is None:
            raise ValueError(
                f"{path} does not say which atoms it has; give a topology (PDB, PSF) as well"
            )
        columns = _from_mdanalysis(path, Path(topology))
    else:
        columns = _from_ase(path, given)
    numbers, masses, x, p, energies, time, cell, pbc = columns
    if len(x) < 2:
        raise ValueError(f"{path} has {len(x)} frames; an evaluation needs two or more")
    if interval_fs > 0.0:
        said = None if time is None else (time[1] - time[0]) / units.FS
        if said is not None and abs(said - interval_fs) > 1e-3 * interval_fs:
            warnings.warn(
                f"{path} says that its frames are {said:g} fs apart; interval_fs={interval_fs:g} "
                "is taken",
                KStepWarning,
                stacklevel=2,
            )
        time = np.arange(len(x)) * interval_fs * units.FS
    if time is None:
        raise ValueError(
            f"{path} does not say the time of its frames, or not in which unit; give "
            "interval_fs=..., the time between two of them, or where it has a time without a unit "
            f"time_unit=..., one of {[*TIME_UNITS]}"
        )
    steps = np.diff(time)
    if not (steps[0] > 0.0 and np.allclose(steps, steps[0], rtol=1e-3)):
        raise ValueError(
            f"{path} has frames {steps.min() / units.FS:g} to {steps.max() / units.FS:g} fs apart; "
            "expected equal intervals"
        )
    return Record(
        np.asarray(numbers, dtype=np.int64),
        np.asarray(masses, dtype=np.float64),
        np.asarray(time - time[0], dtype=np.float64),
        np.asarray(x, dtype=np.float64),
        np.full(np.shape(x), np.nan) if p is None else np.asarray(p, dtype=np.float64),
        np.full(len(x), np.nan) if energies is None else np.asarray(energies, dtype=np.float64),
        {"source": str(path), "error": ""},
        cell,
        pbc,
    )


def _from_npz(path: Path) -> tuple[Any, ...]:
    t = read_npz(path)
    _warn_of_estimates(path, sum(e is not None for e in t.metadata.get(ESTIMATES, ())))
    p = t.velocities * t.masses[:, None]
    energies = np.where(t.has_label, t.energies, np.nan)
    pbc = tuple(bool(b) for b in t.pbc)
    return t.numbers, t.masses, t.positions, p, energies, t.time, t.cell, pbc


def _from_ase(path: Path, given: GivenUnits) -> tuple[Any, ...]:
    frames = read_frames(path, given)
    if frames.left_out:
        warnings.warn(
            f"the velocities {frames.left_out} have no unit that anything says, and are left out; "
            "give velocity_unit=..., such as A/fs",
            KStepWarning,
            stacklevel=3,
        )
    if not frames.atoms:
        raise ValueError(f"{path} has 0 frames; an evaluation needs two or more")
    _warn_of_estimates(path, sum(is_estimated(atoms) for atoms in frames.atoms))
    first = frames.atoms[0]
    for number, atoms in enumerate(frames.atoms):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise ValueError(f"frame {number} of {path} has other atoms than the first")
        if not np.array_equal(atoms.pbc, first.pbc):
            raise ValueError(
                f"frame {number} of {path} has pbc = {atoms.pbc.tolist()} and the first "
                f"{first.pbc.tolist()}; expected frames of one system"
            )
    x, m = np.array([atoms.positions for atoms in frames.atoms]), first.get_masses()
    p = None if frames.velocities is None else np.array(frames.velocities) * m[:, None]
    pbc = tuple(bool(b) for b in first.pbc)
    cells = _one_or_all(np.array([atoms.cell[:] for atoms in frames.atoms]))
    return first.numbers, m, x, p, frames.energies, frames.time, cells, pbc


def _one_or_all(cells: Array) -> Array:
    """The cell (3, 3) that all frames have, or those of all frames (F, 3, 3)."""
    return cells[0] if np.allclose(cells, cells[0]) else cells


def _warn_of_estimates(path: Path, count: int) -> None:
    if count:
        warnings.warn(
            f"{count} frames of {path} have estimates in place of computed energies, of a run with "
            "corrector='mollified'; they are left out: its conserved energy is judged by kstep run",
            KStepWarning,
            stacklevel=4,
        )


def _from_mdanalysis(path: Path, topology: Path) -> tuple[Any, ...]:
    try:
        import MDAnalysis
        from MDAnalysis.lib.mdamath import triclinic_vectors
    except ImportError as error:
        raise ImportError(
            f"reading {path} needs MDAnalysis, which is not installed; "
            "install it with: pip install 'kstep-integrators[mdanalysis]'"
        ) from error
    from ase.data import atomic_masses, atomic_numbers

    try:
        with warnings.catch_warnings():
            # Frames are copied below, so that it does not matter what the reader does with its own.
            warnings.filterwarnings(
                "ignore", "DCDReader currently makes independent timesteps", DeprecationWarning
            )
            universe = MDAnalysis.Universe(str(topology), str(path))
        known = _has_time(path, universe.trajectory)
        elements = [str(e).capitalize() for e in universe.atoms.elements]
        numbers = np.array([atomic_numbers[e] for e in elements])
    except (MDAnalysis.exceptions.NoDataError, KeyError) as error:
        raise ValueError(f"{topology} does not say the elements of its atoms: {error}") from error
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path} with {topology} cannot be read: {error}") from error
    x, v, time = [], [], []
    boxes = []
    for frame in universe.trajectory:
        x.append(frame.positions.astype(np.float64))
        time.append(float(frame.time) * units.PS)  # as MDAnalysis converts all of its formats
        if frame.has_velocities:
            # angstrom / ps
            v.append(frame.velocities.astype(np.float64) / units.PS)
        boxes.append(np.zeros(6) if frame.dimensions is None else frame.dimensions.copy())
    masses = atomic_masses[numbers]
    p = None if len(v) < len(x) else np.array(v) * masses[:, None]
    periodic = bool(np.all(np.array(boxes)[:, :3] > 0.0))
    cell = np.zeros((3, 3))
    if periodic:
        cell = _one_or_all(np.array([triclinic_vectors(box) for box in boxes], dtype=np.float64))
    clock = np.array(time) if known else None
    return numbers, masses, np.array(x), p, None, clock, cell, (periodic,) * 3


def _has_time(path: Path, reader: Any) -> bool:
    """True if a reader of MDAnalysis knows the time of its frames, or makes it up.

    Steps of DCD files are in the unit of their program, which only its remarks tell: LAMMPS and
    CP2K write their own, and MDAnalysis 1 ps, whatever it was. Amber's files may lack the time.
    """
    if reader.format == "DCD":
        from MDAnalysis.lib.formats.libdcd import DCDFile

        with DCDFile(str(path)) as file:
            remarks = str(file.header["remarks"]).lower()
        return any(name in remarks for name in _CREATORS)
    if reader.format == "NCDF":
        return "time" in reader.trjfile.variables
    return True
