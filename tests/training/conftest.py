"""A dataset that costs no quantum chemistry, and fits to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.trajectory import write_npz
from tests.training.trajectories import dynamics


@pytest.fixture(scope="session")
def spring_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of spring dynamics: four trajectories of each of three molecules.

    Of water, two are for validation, of ammonia and methanol one.
    """
    root = tmp_path_factory.mktemp("springs")
    (root / "production").mkdir()
    for formula in ("H2O", "NH3", "CH3OH"):
        for number in range(4):
            spin = 3 if formula == "NH3" else 1
            trajectory = dynamics(formula, frames=24, seed=number, multiplicity=spin)
            write_npz(root / "production" / f"{formula}.300K.{number}.0.npz", trajectory)
    settings = DatasetSettings(
        k=[4, 8],
        every=2,
        split="trajectory",
        validation_fraction=0.25,
        test_fraction=0.0,
        seed=3,
    )
    make_dataset([root], root / "dataset", settings)
    return root / "dataset"


@pytest.fixture(scope="session")
def straight(spring_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes, once, the output folder of four epochs in one go."""
    # Lightning takes seconds to import, and most tests do without.
    from kstep_training.fit.fit import fit
    from tests.training.fits import STAGES

    root = tmp_path_factory.mktemp("straight")

    def make(kind: str) -> Path:
        if not (root / kind / "tiny.safetensors").exists():
            fit(STAGES[kind], spring_data, root / kind)
        return root / kind

    return make
