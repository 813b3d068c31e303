"""A recipe from SMILES to model file, with tblite and RDKit themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kstep_integrators.model_file import read_model
from kstep_training.config import DataConfig
from kstep_training.recipe import run_recipe, simulate_settings
from kstep_training.trajectory import read_npz

TINY = [
    "name=tiny",
    "data.temperatures=[300]",
    "data.frames_per_atom=1",
    "data.min_frames=6",
    "data.max_frames=6",
    "data.equilibration_steps=5",
    "data.interval_steps=2",
    "data.conformers=1",
    "network.channels=8",
    "network.layers=1",
    "network.radial=4",
    "fit.batch_size=4",
    "fit.epochs=2",
    "fit.padding=[3,5]",
    "fit.compile=false",
]


def test_settings_of_training_and_validation() -> None:
    data = DataConfig(seed=4, validation_seed=9, frames_per_atom=8, temperatures=[250.0])
    train, validation = simulate_settings(data), simulate_settings(data, validation=True)
    assert (train.seed, validation.seed) == (4, 9)
    assert (train.frames_per_atom, validation.frames_per_atom) == (8, 3)
    assert (train.min_frames, validation.min_frames) == (120, 1)
    assert train.temperatures == validation.temperatures == (250.0,)
    assert train.max_frames == data.max_frames


def test_workers_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
        run_recipe("qm-gfn2", [], tmp_path / "out", workers=0)


def test_a_list_without_a_molecule(tmp_path: Path) -> None:
    smiles = tmp_path / "none.smi"
    smiles.write_text("# nothing\nC1CC broken\n")
    with pytest.raises(ValueError, match="holds no usable molecule"):
        run_recipe("qm-gfn2", [f"data.molecules={smiles}"], tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_end_to_end_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smiles = tmp_path / "two.smi"
    smiles.write_text("O water\nC1CC broken\nC methane\n")
    output = tmp_path / "out"
    overrides = [*TINY, f"data.molecules={smiles}"]

    model = run_recipe("qm-gfn2", overrides, output, workers=1)
    assert model == output / "fit" / "tiny.safetensors"
    _, header, _ = read_model(model)
    assert header.elements == [1, 6, 8]
    assert header.method == "GFN2-xTB"
    assert header.training["molecules"] == ["methane", "water"]
    assert header.training["epochs"] == 2
    written = " ".join(capsys.readouterr().out.split())  # the console wraps
    assert "skipped" in written
    assert re.search(r"two\.smi:\s?2: 'C1CC' is not a SMILES string", written)
    assert "Model file" in written

    shards = sorted(output.glob("*/*.npz"))
    assert [f"{path.parent.name}/{path.name}" for path in shards] == [
        "train/methane.npz",
        "train/water.npz",
        "validation/methane.npz",
        "validation/water.npz",
    ]
    train, validation = read_npz(shards[0]), read_npz(shards[2])
    assert train.positions[-1].tolist() != validation.positions[-1].tolist()

    stamps = [path.stat().st_mtime_ns for path in shards]
    before = model.read_bytes()
    assert run_recipe("qm-gfn2", overrides, output, workers=1) == model
    assert [path.stat().st_mtime_ns for path in shards] == stamps
    assert model.read_bytes() == before

    # Another recipe leaves both the data and the fit of this one alone.
    with pytest.raises(ValueError, match="data made with other settings"):
        run_recipe("qm-gfn2", [*overrides, "data.interval_steps=3"], output, workers=1)
    with pytest.raises(ValueError, match="a fit of another recipe"):
        run_recipe("qm-gfn2", [*overrides, "fit.epochs=3"], output, workers=1)
    assert model.read_bytes() == before
