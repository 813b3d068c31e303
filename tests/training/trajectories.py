"""Trajectories for the tests of datasets: springs, moved exactly, and metals that are shaken."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule as build
from ase.calculators.emt import EMT

from kstep_integrators import units
from kstep_training.trajectory import Trajectory, trajectory_of

__all__ = ["dynamics", "shaken"]


def dynamics(
    formula: str = "H2O",
    frames: int = 20,
    seed: int = 0,
    timestep_fs: float = 0.5,
    substeps: int = 4,
    **metadata: Any,
) -> Trajectory:
    """NVE of atoms joined by springs, with a drifting centre of mass, as ``simulate`` writes it."""
    rng = np.random.default_rng(seed)
    atoms = build(formula)
    i, j = np.triu_indices(len(atoms), 1)
    rest = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    stiffness = 10.0 / rest**2  # eV/angstrom^2

    def physics(x: np.ndarray) -> tuple[float, np.ndarray]:
        vectors = x[i] - x[j]
        lengths = np.linalg.norm(vectors, axis=1)
        pulls = -(stiffness * (lengths - rest) / lengths)[:, None] * vectors
        forces = np.zeros_like(x)
        np.add.at(forces, i, pulls)
        np.add.at(forces, j, -pulls)
        return float((0.5 * stiffness * (lengths - rest) ** 2).sum()) - 100.0 * len(x), forces

    mass = atoms.get_masses()[:, None]
    x = atoms.positions + rng.normal(0.0, 0.02, (len(atoms), 3))
    v = rng.normal(0.0, np.sqrt(300.0 * units.KB / mass), x.shape)
    energy, force = physics(x)
    rows = []
    h = timestep_fs * units.FS / substeps
    for _ in range(frames):
        rows.append((x, v, force, energy))
        for _ in range(substeps):
            v = v + 0.5 * h * force / mass
            x = x + h * v
            energy, force = physics(x)
            v = v + 0.5 * h * force / mass
    positions, velocities, forces, energies = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Trajectory(
        numbers=atoms.numbers.astype(np.int64),
        masses=mass[:, 0],
        positions=positions,
        velocities=velocities,
        forces=forces,
        energies=energies,
        temperature=np.full(frames, 300.0),
        time=np.arange(frames) * timestep_fs * units.FS,
        has_label=np.ones(frames, dtype=bool),
        metadata={
            "method": "springs",
            "stage": "production",
            "name": formula,
            "smiles": formula,
            "charge": 0,
            "constraints": None,
            "timestep_fs": timestep_fs,
            "interval_steps": 1,
            "settings": {"production": "nve"},
            **metadata,
        },
    )


def shaken(
    name: str, atoms: Atoms, count: int, seed: int = 0, scale: float = 0.0, spread: float = 0.1
) -> Trajectory:
    """Frames of a metal in a cell under EMT, each displaced on its own, the cell strained too."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        frame = atoms.copy()
        strain = np.eye(3) + scale * rng.uniform(-1.0, 1.0, (3, 3))
        frame.set_cell(frame.cell.array @ strain, scale_atoms=True)
        frame.positions += rng.normal(0.0, spread, frame.positions.shape)
        frame.positions += rng.integers(-2, 3, frame.positions.shape) * frame.pbc @ frame.cell.array
        frame.calc = EMT()
        frame.get_forces()
        frames.append(frame)
    metadata = {"method": "springs", "name": name, "stage": "production"}
    return trajectory_of(frames, np.arange(count) * units.FS, 300.0, metadata)
