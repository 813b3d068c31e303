"""Reading of trajectories made elsewhere: NPZ, .traj, extended XYZ, DCD with a topology."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from kstep_integrators import units
from kstep_training.evaluate.record import Record
from kstep_training.trajectory import read_npz

__all__ = ["read_trajectory"]

_MDANALYSIS = (".dcd", ".xtc", ".trr", ".nc")


def read_trajectory(
    path: str | Path, topology: str | Path | None = None, interval_fs: float = 0.0
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

    Returns
    -------
    Record
        Momenta and energies are NaN where the file has none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, has fewer than two frames, or says nothing of time and
        ``interval_fs`` is 0.
    ImportError
        If MDAnalysis is needed and missing.
    """
    path = Path(path)
    for file in (path, *([Path(topology)] if topology is not None else [])):
        if not file.is_file():
            raise FileNotFoundError(f"no file {file}")
    if path.suffix == ".npz":
        columns = _from_npz(path)
    elif path.suffix in _MDANALYSIS:
        if topology is None:
            raise ValueError(
                f"{path} does not say which atoms it has; give a topology (PDB, PSF) as well"
            )
        columns = _from_mdanalysis(path, Path(topology))
    else:
        columns = _from_ase(path)
    numbers, masses, x, p, energies, time, cell, pbc = columns
    if len(x) < 2:
        raise ValueError(f"{path} has {len(x)} frames; an evaluation needs two or more")
    if interval_fs > 0.0:
        time = np.arange(len(x)) * interval_fs * units.FS
    if time is None:
        raise ValueError(
            f"{path} does not say the time of its frames; give interval_fs=..., the time between "
            "two of them"
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
    p = t.velocities * t.masses[:, None]
    energies = np.where(t.has_label, t.energies, np.nan)
    pbc = tuple(bool(b) for b in t.pbc)
    return t.numbers, t.masses, t.positions, p, energies, t.time, t.cell, pbc


def _from_ase(path: Path) -> tuple[Any, ...]:
    try:
        frames: Any = ase.io.read(path, index=":")
    except Exception as error:
        raise ValueError(f"{path} is no trajectory that ASE reads: {error}") from error
    first = frames[0]
    for number, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise ValueError(f"frame {number} of {path} has other atoms than the first")
        if not np.allclose(atoms.cell[:], first.cell[:]):
            raise ValueError(f"frame {number} of {path} has another cell than the first")
    x = np.array([atoms.positions for atoms in frames])
    p = None
    if all(atoms.has("momenta") for atoms in frames):
        p = np.array([atoms.get_momenta() for atoms in frames])
    energies = np.array([_energy(atoms) for atoms in frames])
    time = None
    if all("time" in atoms.info for atoms in frames):
        # ASE units, as this package writes it.
        time = np.array([float(atoms.info["time"]) for atoms in frames])
    pbc = tuple(bool(b) for b in first.pbc)
    return first.numbers, first.get_masses(), x, p, energies, time, first.cell[:], pbc


def _energy(atoms: Atoms) -> float:
    """The energy in the file, in eV; NaN if it has none."""
    known = {} if atoms.calc is None else atoms.calc.results
    return float(known.get("energy", np.nan))


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
        elements = [str(e).capitalize() for e in universe.atoms.elements]
        numbers = np.array([atomic_numbers[e] for e in elements])
    except (MDAnalysis.exceptions.NoDataError, KeyError) as error:
        raise ValueError(f"{topology} does not say the elements of its atoms: {error}") from error
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path} with {topology} cannot be read: {error}") from error
    x, v, time = [], [], []
    box = None
    for frame in universe.trajectory:
        x.append(frame.positions.astype(np.float64))
        time.append(float(frame.time) * units.PS)
        if frame.has_velocities:
            # angstrom / ps
            v.append(frame.velocities.astype(np.float64) / units.PS)
        box = frame.dimensions
    masses = atomic_masses[numbers]
    p = None if len(v) < len(x) else np.array(v) * masses[:, None]
    periodic = box is not None and bool(np.all(np.asarray(box[:3]) > 0.0))
    cell = np.asarray(triclinic_vectors(box), dtype=np.float64) if periodic else np.zeros((3, 3))
    return numbers, masses, np.array(x), p, None, np.array(time), cell, (periodic,) * 3
