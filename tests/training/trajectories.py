"""Trajectories of small molecules for the tests of datasets: springs, moved exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.build import molecule as build

from kstep_integrators import units
from kstep_training.trajectory import Trajectory

__all__ = ["dynamics"]


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
