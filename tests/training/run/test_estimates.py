"""A run at averaged positions: its estimates say what they are, and become nobody's labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from kstep_integrators import CalculatorPotential, KStepDynamics, KStepWarning
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.cli import main
from kstep_integrators.learning.label_sources import read_labels
from kstep_integrators.physics.estimated import is_estimated
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.units import MEV
from kstep_training.dataset.shards import write_shard
from kstep_training.evaluate.frames import read_trajectory
from kstep_training.refit.targets import read_targets
from kstep_training.trajectory import ESTIMATES, read_npz

KEYS = ["k=16", "timestep_fs=0.5", "corrector=mollified", "verify_interval=5", "length_ps=0.16",
        "equilibration_ps=0.08", "temperature_K=600"]  # fmt: skip


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Water under GFN2 at 8 fs, by the command."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    assert main(["run", "organic-gfn2", "water", *KEYS, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def frames(folder: Path) -> list[Atoms]:
    return ase.io.read(folder / "run.traj", ":")


def test_the_summary_says_what_is_estimated(folder: Path, frames: list[Atoms]) -> None:
    summary, run = summary_of(folder), read_npz(folder / "run.npz")
    # One evaluation for each stride and one at the start; those that verify are apart.
    assert (summary["strides"], summary["evaluations"], summary["verifications"]) == (20, 21, 4)
    assert (summary["estimated_frames"], summary["labelled_frames"]) == (21, 0)
    assert summary["drift_of"].startswith("the conserved energy")
    assert all(map(is_estimated, frames))
    assert np.isnan(run.energies).all()
    assert np.isnan(run.forces).all()
    assert not run.has_label.any()
    estimates = [atoms.get_potential_energy() for atoms in frames]
    np.testing.assert_allclose(run.metadata[ESTIMATES], estimates, rtol=0, atol=1e-12)


def test_estimates_are_as_good_as_is_said(folder: Path, frames: list[Atoms]) -> None:
    physics, errors, kinetic = xtb_calculator("GFN2-xTB"), [], []
    for atoms in frames:
        here = atoms.copy()
        here.calc = physics
        errors.append(atoms.get_potential_energy() - here.get_potential_energy())
        kinetic.append(atoms.get_kinetic_energy())
    # Verified after strides 5, 10, 15 and 20.
    measured = np.sqrt(np.mean(np.square([errors[i] for i in (5, 10, 15, 20)])))
    said = summary_of(folder)["estimate_error_meV_per_atom"]
    assert said == pytest.approx(measured / MEV / 3, rel=0.05)
    # And what is said of the energy is of that which the motion conserves: it wanders less.
    run = read_npz(folder / "run.npz")
    conserved = np.array(run.metadata["conserved_eV"])
    estimated = np.array(run.metadata[ESTIMATES]) + kinetic
    assert np.std(conserved) < np.std(estimated - np.array(errors))
    assert np.abs(conserved - estimated).max() < 0.02


def test_one_that_learns_labels_what_it_computed(tmp_path: Path) -> None:
    words = ["learn=true", "learning.refit=false", "physics=GFN2-xTB"]
    assert main(["run", "GFN1-xTB", "water", *KEYS, *words, "--output", str(tmp_path)]) == 0
    labels = ase.io.read(tmp_path / "run.labels.traj", ":")
    assert not any(map(is_estimated, labels))
    summary = summary_of(tmp_path)
    assert len(labels) >= summary["evaluations"]
    physics = xtb_calculator("GFN2-xTB")
    for frame in labels[:: len(labels) // 4]:
        here = frame.copy()
        here.calc = physics
        assert frame.get_potential_energy() == pytest.approx(here.get_potential_energy(), abs=1e-6)
    assert 0 < summary["estimated_frames"] < summary["frames"]
    assert summary["labelled_frames"] == summary["frames"] - summary["estimated_frames"]


@pytest.mark.filterwarnings("ignore:.* does not say which method")
def test_estimates_are_no_labels(folder: Path, frames: list[Atoms], tmp_path: Path) -> None:
    physics = settings_of(xtb_calculator("GFN2-xTB"))
    ase.io.write(tmp_path / "run.extxyz", frames)
    for path in (folder / "run.traj", tmp_path / "run.extxyz"):
        with pytest.raises(ValueError, match=r"frame 0 of .*run.* has estimates of energy and fo"):
            read_labels([path], frames[:1], physics)
    with pytest.raises(ValueError, match=r"no frame with a label: its run had corrector='mollif"):
        read_labels([folder / "run.npz"], frames[:1], physics)


def test_estimates_are_no_targets_and_no_data(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"frame 0 of .*run.traj has estimates of energy and forc"):
        read_targets(folder / "run.traj", [1, 8])
    with pytest.raises(ValueError, match=r"no labelled frame: energies and forces of a run with"):
        write_shard(tmp_path, "water", [folder / "run.npz"], ([4], 1, False), {})


@pytest.mark.parametrize("name", ["run.traj", "run.npz"])
def test_a_trajectory_evaluated_elsewhere_has_no_energies(folder: Path, name: str) -> None:
    with pytest.warns(KStepWarning, match="21 frames of .* have estimates in place of computed"):
        record = read_trajectory(folder / name)
    assert np.isnan(record.energies).all()
    assert np.isfinite(record.momenta).all()


def test_a_run_from_such_a_frame_computes_and_says_so(frames: list[Atoms], tmp_path: Path) -> None:
    atoms = frames[-1].copy()
    assert is_estimated(atoms)
    atoms.calc = xtb_calculator("GFN2-xTB")
    cheap = CalculatorPotential(xtb_calculator("GFN1-xTB"))
    with KStepDynamics(atoms, cheap, k=4, trajectory=tmp_path / "md.traj") as dynamics:
        dynamics.run(2)
    assert not any(map(is_estimated, ase.io.read(tmp_path / "md.traj", ":")))
