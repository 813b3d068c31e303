"""Labelled frames of small molecules that cost no quantum chemistry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule as build

from kstep_training.make_dataset import DatasetSettings, make_dataset
from kstep_training.trajectory import Trajectory, write_npz
from tests.training.trajectories import dynamics

Springs = Callable[..., Trajectory]


@pytest.fixture(scope="session")
def springs() -> Springs:
    """Makes frames whose atoms are all joined by springs: sum over pairs of k/2 (r - r0)^2."""

    def make(formula: str, frames: int, seed: int = 0) -> Trajectory:
        rng = np.random.default_rng(seed)
        atoms = build(formula)
        n = len(atoms)
        i, j = np.triu_indices(n, 1)
        rest = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
        k = 10.0 / rest**2  # eV/angstrom^2
        x = atoms.positions + rng.normal(0.0, 0.05, (frames, n, 3))
        vectors = x[:, i] - x[:, j]
        lengths = np.linalg.norm(vectors, axis=-1)
        pulls = -(k * (lengths - rest) / lengths)[..., None] * vectors
        forces = np.zeros_like(x)
        for pair, (a, b) in enumerate(zip(i, j, strict=True)):
            forces[:, a] += pulls[:, pair]
            forces[:, b] -= pulls[:, pair]
        return Trajectory(
            numbers=atoms.numbers.astype(np.int64),
            masses=atoms.get_masses(),
            positions=x,
            velocities=np.zeros_like(x),
            forces=forces,
            energies=(0.5 * k * (lengths - rest) ** 2).sum(1) - 100.0 * n,
            temperature=np.zeros(frames),
            time=np.zeros(frames),
            has_label=np.ones(frames, dtype=bool),
            metadata={"method": "springs"},
        )

    return make


@pytest.fixture(scope="session")
def folders(springs: Springs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Training and validation shards of water, ammonia and methanol."""
    root = tmp_path_factory.mktemp("data")
    for part, frames, seed in (("train", 20, 0), ("validation", 8, 1)):
        (root / part).mkdir()
        for formula in ("H2O", "NH3", "CH3OH"):
            write_npz(root / part / f"{formula}.npz", springs(formula, frames, seed))
    return root / "train", root / "validation"


@pytest.fixture(scope="session")
def spring_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of spring dynamics: four trajectories of each of three molecules.

    Of water, two are for validation, of ammonia and methanol one.
    """
    root = tmp_path_factory.mktemp("springs")
    (root / "production").mkdir()
    for formula in ("H2O", "NH3", "CH3OH"):
        for number in range(4):
            trajectory = dynamics(formula, frames=24, seed=number)
            write_npz(root / "production" / f"{formula}.300K.{number}.0.npz", trajectory)
    settings = DatasetSettings(
        strides=[4, 8],
        every=2,
        split="trajectory",
        validation_fraction=0.25,
        test_fraction=0.0,
        seed=3,
    )
    make_dataset([root], root / "dataset", settings)
    return root / "dataset"
