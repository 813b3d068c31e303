"""Recipes of observables from molecules to an observed run, with the real engines, tiny ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from kstep_integrators.observables.observable_file import read_observable
from kstep_training.config import recipe_path
from kstep_training.observable_recipe import RECIPES, CouplingRecipe, SpectrumRecipe
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.options import read_options
from kstep_training.recipe import run_recipe

FIT = [
    "twin=false",
    "split.held_out=[]",
    "network.layers=1",
    "network.radial=4",
    "fit.epochs=2",
    "fit.batch_size=4",
]
COUPLINGS = [
    *FIT,
    "pairs=[ethene+ethene]",
    "trajectories=3",
    "observed_frames=4",
    "dynamics.frames=3",
    "dynamics.interval_fs=20",
    "dynamics.equilibration_fs=20",
    "label.reference=HF/STO-3G",
]
XANES = [
    *FIT,
    "dynamics.molecules=[methanol]",
    "dynamics.trajectories=3",
    "dynamics.length_ps=0.016",
    "dynamics.equilibration_ps=0",
    "dynamics.interval_fs=8",
    "observed_ps=0.02",
    "label.element=O",
    "label.basis=sto-3g",
    "label.xc=hf",
    "label.window_eV=5",
]
STAGES = ["dynamics", "label", "fit", "run", "observe"]


@pytest.mark.parametrize(("name", "words"), [("couplings", COUPLINGS), ("xanes", XANES)])
def test_a_recipe_and_again(
    name: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    model = run_recipe(name, words, output, workers=1)
    written = capsys.readouterr().out
    for stage in STAGES:
        assert re.search(rf"^{stage}: \d+\.\d s$", written, re.MULTILINE)
    assert model == output / "fit" / f"{name}.safetensors"
    labels = read_labels(output / "labels")
    assert (labels.kind, sum(len(part["frame"]) for part in labels.parts)) == (name, 9)
    header = read_observable(model)[1]
    assert {part: len(names) for part, names in header.training["split"].items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }
    [observed] = (output / "observed").glob("*.npz")
    with np.load(observed) as file:
        assert all(np.isfinite(file[key]).all() for key in file.files)
    recorded = json.loads((output / "recipe.json").read_text())
    assert list(recorded["seconds"]) == STAGES
    assert recorded["recipe"]["observable"] == name

    made = {path: path.stat().st_mtime_ns for path in output.glob("labels/parts/*.npz")}
    before = model.read_bytes()
    assert run_recipe(name, words, output, workers=1) == model
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert model.read_bytes() == before


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bundled_recipes_of_observables(name: str) -> None:
    recipe = read_options(RECIPES[name], recipe_path(name))
    assert (recipe.observable, recipe.name) == (name, name)
    assert recipe.description
    assert recipe.stage.split == recipe.split
    runs = (
        recipe.trajectories if isinstance(recipe, CouplingRecipe) else recipe.dynamics.trajectories
    )
    assert runs >= 3  # one each to train, to validate and to test


def test_recipes_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("observable: dipoles\n")
    with pytest.raises(ValueError, match="observable is 'dipoles', expected one of couplings, xan"):
        run_recipe(path, [], tmp_path / "out", workers=1)
    with pytest.raises(ValueError, match=r"did you mean 'dynamics\.frames'"):
        run_recipe("couplings", ["dynamics.frame=3"], tmp_path / "out", workers=1)
    with pytest.raises(ValueError, match="a pair is 'ethene', expected two molecules joined by"):
        CouplingRecipe(pairs=["ethene"])
    with pytest.raises(ValueError, match="trajectories is 0, expected at least 1"):
        CouplingRecipe(trajectories=0)
    with pytest.raises(ValueError, match="number of pairs is 0, expected at least 1"):
        CouplingRecipe(pairs=[])
    with pytest.raises(ValueError, match="observed_ps is 0"):
        SpectrumRecipe(observed_ps=0.0)


def test_a_run_that_ends_early(tmp_path: Path) -> None:
    words = [*COUPLINGS, "pairs=[nosuchmolecule+ethene]"]
    with pytest.raises(ValueError, match=r"run 0\.0 ended: .*nosuchmolecule"):
        run_recipe("couplings", words, tmp_path / "out", workers=1)
