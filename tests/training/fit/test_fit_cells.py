"""Fits to data in periodic cells: the model says so, and runs in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from kstep_integrators.models.model_file import read_model
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset, run_dataset
from kstep_training.fit.fit import fit, run_fit
from kstep_training.fit.starting_point import starting_network
from kstep_training.options import override
from kstep_training.run.run import RunSettings, dynamics_run
from kstep_training.trajectory import read_npz, write_npz
from tests.training.fits import STAGES, changed
from tests.training.trajectories import dynamics, shaken

SETTINGS = DatasetSettings(k=[2], split="trajectory", validation=["other"], test_fraction=0.0)
RUN = ["physics=EMT", "k=2", "timestep_fs=2", "length_ps=0.08", "equilibration_ps=0.02"]
WORDS = ["name=copper", "network.channels=8", "network.layers=1", "network.radial=8"]
WORDS += ["fit.batch_size=8", "fit.epochs=20", "fit.learning_rate=0.02", "fit.warmup_steps=5"]
WORDS += ["fit.compile=false", "fit.augmentation=graph", "fit.ema_decay=0.9"]
SOFT = f"{__name__}:soft_copper"


def soft_copper(atoms: Atoms) -> LennardJones:
    """A base that is wrong and cheap."""
    return LennardJones(sigma=2.27, epsilon=0.4, rc=4.5, smooth=True)


def test_from_a_run_in_a_cell_to_a_run_with_the_model(tmp_path: Path) -> None:
    """Run, dataset, fit, and a run with what was fitted, which is better than nothing."""
    start = tmp_path / "copper.cif"
    ase.io.write(start, bulk("Cu") * (2, 2, 2))
    settings = override(RunSettings, [*RUN, "thermostat=langevin"])
    (tmp_path / "runs").mkdir()
    for seed in range(2):
        folder = tmp_path / f"run{seed}"
        dynamics_run(SOFT, str(start), dataclasses.replace(settings, seed=seed), folder)
        (folder / "run.npz").rename(tmp_path / "runs" / f"copper.300K.{seed}.npz")
    parts = ["split=trajectory", "validation_fraction=0.5", "test_fraction=0", "seed=4"]
    data = run_dataset([tmp_path / "runs"], parts, tmp_path / "data")
    assert [shard.part for shard in data.shards] == ["train", "validation"]
    path = run_fit(tmp_path / "data", WORDS, tmp_path / "fit")
    _, header, _ = read_model(path)
    assert header.periodic
    assert (header.method, header.elements) == ("EMT", [29])
    forces = read_npz(tmp_path / "runs" / "copper.300K.1.npz").forces
    assert header.training["validation"]["val_force_rms"] < 0.2e3 * forces.std()
    summary = dynamics_run(str(path), str(start), settings, tmp_path / "with")
    assert summary["method"] == "EMT"
    assert summary["frames"] == 21


@pytest.fixture(scope="module")
def copper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copper in a small cell, and water, which stands alone; energies from far away."""
    root = tmp_path_factory.mktemp("copper")
    (root / "in").mkdir()
    for number, name in enumerate(("copper", "other")):
        frames = shaken(name, bulk("Cu") * (2, 2, 1), 12, seed=number)
        frames = dataclasses.replace(frames, energies=frames.energies - 100.0)
        write_npz(root / "in" / f"{name}.npz", frames)
    write_npz(root / "in" / "H2O.npz", dynamics("H2O", 24))
    make_dataset([root / "in"], root / "data", SETTINGS)
    return root / "data"


def test_molecules_and_cells_in_one_fit(copper: Path, tmp_path: Path) -> None:
    stage = changed("flow", padding=None)
    path = fit(stage, copper, tmp_path / "fit")
    _, header, _ = read_model(path)
    assert (header.periodic, header.elements) == (True, [1, 8, 29])
    assert header.training["frames"] == 12 + 24
    assert header.training["validation_frames"] == 12
    # Tuned on molecules alone, it is for molecules again.
    write_npz(tmp_path / "H2O.npz", dynamics("H2O", 24, seed=1, name="H2O"))
    write_npz(tmp_path / "other.npz", dynamics("H2O", 24, seed=2, name="other", smiles=None))
    make_dataset([tmp_path], tmp_path / "molecules", SETTINGS)
    tuned = changed("flow", init_from=str(path), epochs=1, padding=None)
    _, alone, _ = read_model(fit(tuned, tmp_path / "molecules", tmp_path / "tuned"))
    assert not alone.periodic


def test_a_start_gets_the_mean_energy_of_the_cells(copper: Path, tmp_path: Path) -> None:
    """Shifts moved to the labels leave nothing, on average, if energies are those in the cells."""
    stage = changed("flow", padding=None, epochs=1)
    path = fit(stage, copper, tmp_path / "fit")
    moved = dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, init_from=str(path)))
    tuned, _ = starting_network(moved, open_dataset(copper))
    assert isinstance(tuned, EnergyNetwork)
    elements, shifts = tuned.config["elements"], tuned.config["shifts"]
    frames = FrameDataset(copper, "train", [3, 6], elements, shifts, tuned.cutoff)
    assert frames.offsets.tolist() == [0, 24, 36]
    for first, end in ((0, 24), (24, 36)):
        batch = frames[range(first, end)]
        energy, _ = energy_and_forces(tuned, None, batch.positions, batch.graph)
        assert float((energy.sum(-1) - batch.energies).mean()) == pytest.approx(0.0, abs=1e-3)


def test_direct_jumps_are_refused(copper: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"in periodic cells \(copper, other\), which have no win"):
        fit(STAGES["direct"], copper, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()
