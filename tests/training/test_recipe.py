"""Recipes from SMILES to a run with the model, with the real engines: one tiny one of each kind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kstep_integrators.models.model_file import read_model
from kstep_training.recipe import run_recipe

NETWORK = ["network.channels=8", "network.layers=1", "network.radial=4"]
FIT = ["fit.batch_size=4", "fit.epochs=2", "fit.compile=false"]
TINY = [
    "name=tiny",
    "molecule=water",
    "prep.conformers=1",
    "simulate.temperatures=[300]",
    "simulate.trajectories=1",
    "simulate.equilibration_ps=0.005",
    "simulate.segments=1",
    "run.equilibration_ps=0",
    "run.length_ps=0.008",
]
FLOW = [*TINY, "simulate.segment_ps=0.024", "simulate.interval_steps=4", "dataset.split=molecule"]
"""Of methane, six frames; of water, for validation, as many."""
DIRECT = [*TINY, "simulate.refresh_ps=0.005", "dataset.test=[]", "dataset.test_fraction=0.0"]
HELD_OUT = ["dataset.validation=[water]"]
STAGES = ["prep", "simulate", "dataset", "fit", "run"]


@pytest.fixture
def smiles(tmp_path: Path) -> str:
    """Words for a list of two molecules, and a line that cannot be used."""
    path = tmp_path / "two.smi"
    path.write_text("O water\nC1CC broken\nCO methanol\n")
    return f"molecules={path}"


def end(output: Path) -> dict[str, Any]:
    """What a recipe leaves: times of its stages, and the summary of its run."""
    seconds = json.loads((output / "recipe.json").read_text())["seconds"]
    assert list(seconds) == STAGES
    assert all(value > 0.0 for value in seconds.values())
    summary: dict[str, Any] = json.loads((output / "run" / "summary.json").read_text())
    assert (summary["status"], summary["molecule"]) == ("done", "water")
    return summary


def test_workers_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
        run_recipe("qm-gfn2", [], tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_a_list_without_a_molecule(tmp_path: Path) -> None:
    path = tmp_path / "none.smi"
    path.write_text("# nothing\nC1CC broken\n")
    with pytest.raises(ValueError, match="holds no usable molecule"):
        run_recipe("qm-gfn2", [f"molecules={path}"], tmp_path / "out", workers=1)


def test_words_for_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'pretrain\.fit\.epochs=3' is for the recipe to start"):
        run_recipe("qm-gfn2", ["pretrain.fit.epochs=3"], tmp_path / "out", workers=1)
    path = tmp_path / "chain.yaml"
    path.write_text("pretrain: qm-transfer\n")
    with pytest.raises(ValueError, match="'qm-transfer' starts from yet another recipe"):
        run_recipe(path, [], tmp_path / "out", workers=1)


def test_a_flow_and_again(smiles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides, output = [smiles, *FLOW, *NETWORK, *FIT, *HELD_OUT], tmp_path / "out"
    model = run_recipe("qm-gfn2", overrides, output, workers=1)
    written = capsys.readouterr().out
    assert "skipped" in written
    assert "two.smi:2" in written
    for stage in STAGES:
        assert re.search(rf"^{stage}: \d+\.\d s$", written, re.MULTILINE)
    assert model == output / "fit" / "tiny.safetensors"
    assert read_model(model)[1].training["molecules"] == ["methanol"]
    assert end(output)["evaluations"] == 5
    recorded = json.loads((output / "recipe.json").read_text())
    assert recorded["recipe"]["simulate"]["physics"] == "GFN2-xTB"

    made = {path: path.stat().st_mtime_ns for path in output.glob("*/*/*.np[yz]")}
    assert len(made) == 8  # three parts of the trajectories of two molecules, and their shards
    before = model.read_bytes()
    assert run_recipe("qm-gfn2", overrides, output, workers=1) == model
    assert {path: path.stat().st_mtime_ns for path in output.glob("*/*/*.np[yz]")} == made
    assert model.read_bytes() == before
    again = json.loads((output / "recipe.json").read_text())["seconds"]
    assert all(again[stage] > recorded["seconds"][stage] for stage in STAGES)

    # Another recipe leaves the work of this one alone.
    with pytest.raises(ValueError, match="other settings"):
        run_recipe("qm-gfn2", [*overrides, "simulate.interval_steps=3"], output, workers=1)
    with pytest.raises(ValueError, match="a fit with other settings"):
        run_recipe("qm-gfn2", [*overrides, "fit.epochs=3"], output, workers=1)
    assert model.read_bytes() == before


def test_transfer(smiles: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    before = [f"pretrain.{word}" for word in [smiles, *FLOW, *NETWORK, *FIT, *HELD_OUT]]
    overrides = [smiles, *FLOW, *FIT, *HELD_OUT, *before]
    model = run_recipe("qm-transfer", overrides, output, workers=1)
    start, known, digest = read_model(output / "pretrain" / "fit" / "tiny.safetensors")
    network, header, _ = read_model(model)
    assert (known.method, header.method) == ("mmff94", "GFN2-xTB")
    assert network.config["channels"] == start.config["channels"] == 8
    assert header.training["init_from"] == {"name": "tiny", "sha256": digest}
    end(output)
    assert not (output / "pretrain" / "run").exists()


def test_direct_jumps_on_gfn2(smiles: str, tmp_path: Path) -> None:
    overrides = [smiles, *DIRECT, "simulate.segment_ps=0.02", *NETWORK, *FIT, *HELD_OUT]
    overrides += ["dataset.k=[4,8]", "run.k=8"]
    model = run_recipe("qm-gfn2-direct", overrides, tmp_path / "out", workers=1)
    network, header, _ = read_model(model)
    assert (header.kind, header.timestep_fs) == ("increments", 0.25)
    assert (network.config["strides"], network.config["baseline"]) == ([4, 8], "verlet")
    summary = end(tmp_path / "out")
    assert summary["stride_fs"] == pytest.approx(2.0)
    assert summary["method"] == "GFN2-xTB"


def test_direct_jumps_on_a_force_field(smiles: str, tmp_path: Path) -> None:
    overrides = [smiles, *DIRECT, "simulate.segment_ps=0.12", *NETWORK, *FIT, *HELD_OUT]
    model = run_recipe("mm-mmff94", [*overrides, "run.length_ps=0.04"], tmp_path / "out", workers=1)
    network, header, _ = read_model(model)
    assert (header.method, header.constraints) == ("mmff94", "HBonds")
    assert (network.config["strides"], network.config["baseline"]) == ([4, 8, 12], "plain")
    summary = end(tmp_path / "out")
    assert summary["stride_fs"] == pytest.approx(8.0)
    assert summary["method"] == "mmff94"


def test_hartree_fock(smiles: str, tmp_path: Path) -> None:
    overrides = [smiles, *FLOW, *NETWORK, *FIT, *HELD_OUT, "simulate.segment_ps=0.004"]
    overrides += ["simulate.interval_steps=1", "run.length_ps=0.004"]
    model = run_recipe("pyscf-small", overrides, tmp_path / "out", workers=1)
    assert "hf" in read_model(model)[1].method.lower()
    assert end(tmp_path / "out")["method"] == "hf/sto-3g"
