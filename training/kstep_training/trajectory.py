"""The NPZ trajectory schema, version 1: MD units outside, ASE units inside.

Arrays on disk: ``positions`` (n_frames, n_atoms, 3) nm; ``velocities`` nm/ps; ``forces``
kJ/(mol nm); ``energies`` (n_frames,) kJ/mol; ``temperature`` (n_frames,) K; ``atom_types``
(n_atoms,) atomic numbers; ``masses`` (n_atoms,) u; ``time`` (n_frames,) ps; ``cell`` (3, 3) nm, or
(n_frames, 3, 3) where it changes, as under a barostat; ``pbc`` (3,); ``has_label`` (n_frames,);
``metadata`` one JSON string. Where they are known also ``charges`` (n_frames, n_atoms) e.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators import units
from kstep_integrators.diagnostics.npz_schema import (
    ESTIMATES,
    SCHEMA_VERSION,
    check_arrays,
    check_metadata,
    read_arrays,
)
from kstep_integrators.files import atomic_file
from kstep_integrators.physics.estimated import is_estimated

__all__ = ["ESTIMATES", "SCHEMA_VERSION", "Trajectory", "read_npz", "trajectory_of", "write_npz"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """Frames of one molecule in ASE units.

    Attributes
    ----------
    numbers : (n_atoms,) int
        Atomic numbers.
    masses : (n_atoms,) u
    positions : (n_frames, n_atoms, 3) angstrom
    velocities : (n_frames, n_atoms, 3) angstrom / ASE time
    forces : (n_frames, n_atoms, 3) eV/angstrom
    energies : (n_frames,) eV
    temperature : (n_frames,) K
        Target temperature of the run each frame comes from; 0 for distorted geometries.
    time : (n_frames,) ASE time
    has_label : (n_frames,) bool
        Whether ``energies`` and ``forces`` of the frame were computed.
    cell : (3, 3) or (n_frames, 3, 3) angstrom
        One for each frame where they are not all the same.
    pbc : (3,) bool
    metadata : dict
        Method, base step, seed, versions, SMILES.
    charges : (n_frames, n_atoms) e, or None
        Of the atoms, where the physics has them.
    """

    numbers: npt.NDArray[np.int64]
    masses: Array
    positions: Array
    velocities: Array
    forces: Array
    energies: Array
    temperature: Array
    time: Array
    has_label: npt.NDArray[np.bool_]
    cell: Array = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(3, dtype=bool))
    metadata: dict[str, Any] = field(default_factory=dict)
    charges: Array | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def cells(self) -> Array:
        """Cells (n_frames, 3, 3) of the frames, angstrom."""
        return np.broadcast_to(self.cell, (len(self), 3, 3))

    @property
    def momenta(self) -> Array:
        """Momenta (n_frames, n_atoms, 3), u angstrom / ASE time."""
        return self.velocities * self.masses[:, None]


def trajectory_of(
    frames: Sequence[Atoms],
    time: Array,
    temperature_K: float,
    metadata: dict[str, Any] | None = None,
) -> Trajectory:
    """The frames of one molecule as ASE has them.

    Nothing is computed: energies and forces are those that are kept with the frames, but for
    estimates (:mod:`kstep_integrators.physics.estimated`), which are left out.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        At least one; of the same atoms.
    time : (n_frames,) ASE time
    temperature_K : float
        Target temperature of the run.
    metadata : dict, optional

    Returns
    -------
    Trajectory
        Energies and forces that are not known are NaN and have no label. Those that are estimates
        are so too; their energies are in the metadata, as :data:`ESTIMATES`.

    Raises
    ------
    ValueError
        If there is no frame, or one has other atoms or other periodic directions than the first.

    Examples
    --------
    >>> water = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    >>> trajectory = trajectory_of([water, water], np.array([0.0, 0.1]), 300.0)
    >>> len(trajectory), trajectory.has_label.any()
    (2, np.False_)
    """
    if not frames:
        raise ValueError("a trajectory of no frames was asked for; expected one at least")
    first = frames[0]
    for number, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise ValueError(f"frame {number} has other atoms than the first")
        if not np.array_equal(atoms.pbc, first.pbc):
            raise ValueError(
                f"frame {number} has pbc = {atoms.pbc.tolist()} and the first "
                f"{first.pbc.tolist()}; expected frames of one system"
            )
    results = [{} if atoms.calc is None else atoms.calc.results for atoms in frames]
    estimates = [
        float(known["energy"]) if is_estimated(atoms) and "energy" in known else None
        for atoms, known in zip(frames, results, strict=True)
    ]
    metadata = dict(metadata or {})
    if any(energy is not None for energy in estimates):
        metadata[ESTIMATES] = estimates
    results = [
        {} if is_estimated(atoms) else known for atoms, known in zip(frames, results, strict=True)
    ]
    cells = np.array([atoms.cell.array for atoms in frames])
    no_forces = np.full((len(first), 3), np.nan)
    energies = np.array([float(known.get("energy", np.nan)) for known in results])
    forces = np.array([known.get("forces", no_forces) for known in results])
    return Trajectory(
        numbers=first.numbers.astype(np.int64),
        masses=first.get_masses(),
        positions=np.array([atoms.positions for atoms in frames]),
        velocities=np.array([atoms.get_velocities() for atoms in frames]),
        forces=forces,
        energies=energies,
        temperature=np.full(len(frames), temperature_K),
        time=time,
        has_label=np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2)),
        cell=cells if (cells != cells[0]).any() else cells[0],
        pbc=first.pbc.copy(),
        metadata=metadata,
    )


def write_npz(path: str | Path, trajectory: Trajectory) -> None:
    """Write a shard atomically: a reader sees the old file, the whole new one, or none.

    Raises
    ------
    ValueError
        If a field has another shape or type, or values without sense; as :func:`read_npz`.
    """
    metadata = check_metadata({**trajectory.metadata, "schema": SCHEMA_VERSION}, str(path))
    arrays: dict[str, Any] = {
        "positions": np.asarray(trajectory.positions) / units.NM,
        "velocities": np.asarray(trajectory.velocities) / units.NM_PER_PS,
        "forces": np.asarray(trajectory.forces) / units.KJ_PER_MOL_NM,
        "energies": np.asarray(trajectory.energies) / units.KJ_PER_MOL,
        "temperature": np.asarray(trajectory.temperature),
        "atom_types": np.asarray(trajectory.numbers),
        "masses": np.asarray(trajectory.masses),
        "time": np.asarray(trajectory.time) / units.PS,
        "cell": np.asarray(trajectory.cell) / units.NM,
        "pbc": np.asarray(trajectory.pbc),
        "has_label": np.asarray(trajectory.has_label),
        "metadata": np.array(json.dumps(metadata)),
    }
    if trajectory.charges is not None:
        arrays["charges"] = np.asarray(trajectory.charges)
    check_arrays(arrays, str(path))
    with atomic_file(path) as handle:
        np.savez_compressed(handle, **arrays)


def read_npz(path: str | Path) -> Trajectory:
    """Read a shard written by :func:`write_npz`. Nothing is ever unpickled.

    Raises
    ------
    ValueError
        If it is no NPZ file, an array is missing, has another shape or type, or values without
        sense, or the schema version is another one. The message names the array.
    """
    data, metadata = read_arrays(path)
    return Trajectory(
        numbers=data["atom_types"].astype(np.int64),
        masses=data["masses"].astype(np.float64),
        positions=data["positions"] * units.NM,
        velocities=data["velocities"] * units.NM_PER_PS,
        forces=data["forces"] * units.KJ_PER_MOL_NM,
        energies=data["energies"] * units.KJ_PER_MOL,
        temperature=data["temperature"].astype(np.float64),
        time=data["time"] * units.PS,
        has_label=data["has_label"].astype(bool),
        cell=data["cell"] * units.NM,
        pbc=data["pbc"].astype(bool),
        metadata=metadata,
        charges=data["charges"].astype(np.float64) if "charges" in data else None,
    )
