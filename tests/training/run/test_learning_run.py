"""kstep run that learns: what it leaves, what goes on, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from kstep_integrators import CalculatorPotential, Learning, load_model
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.cli import main
from kstep_integrators.units import FS
from kstep_training.options import as_overrides, override
from kstep_training.run.learning import LearningSettings
from kstep_training.run.run import RunSettings, dynamics_run
from kstep_training.trajectory import read_npz

SHORT = ["learn=true", "learning.refit=false", "k=4", "timestep_fs=0.5", "checkpoint_interval=5",
         "length_ps=0.02", "equilibration_ps=0.02"]  # fmt: skip


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def test_a_run_learns_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["run", "none", "water", *SHORT, "--output", str(folder)]) == 0
    assert "learning: labels" in capsys.readouterr().out
    summary, learning = read(folder, "summary"), read(folder, "learning")
    blocks = learning["equilibration"]["blocks"]
    assert blocks[0]["residual_meV_per_A"] == blocks[0]["of_base_meV_per_A"]
    first, last = (b["residual_meV_per_A"] for b in (blocks[0], learning["run"]["blocks"][-1]))
    assert first > 50.0
    assert last < 0.1 * first
    assert summary["learning"]["last_residual_meV_per_A"] == last
    for name, part in learning.items():
        kept = ase.io.read(folder / f"{name}.labels.traj", ":")
        assert len(kept) == part["labels"] == sum(b["count"] for b in part["blocks"])
        assert part["k"][0] == [0, 2]
        assert part["k"][1][1] == 4
    assert summary["learning"]["labels"] == sum(part["labels"] for part in learning.values())
    # The clock, not the number of strides, tells the end: they are shorter at first.
    run = read_npz(folder / "run.npz")
    assert run.time[-1] / FS == pytest.approx(20.0, abs=1.0)
    steps = np.diff(run.time) / FS
    grown = learning["run"]["k"][1][0]
    np.testing.assert_allclose(steps, [1.0] * grown + [2.0] * (len(steps) - grown), atol=1e-9)
    assert run.metadata["segments"] == list(range(grown + 1))
    # What it has learned is a model like any other.
    frame = ase.io.read(folder / "run.labels.traj", -1)
    model = load_model(folder / "water.safetensors", device="cpu")
    assert model.header.training["labels"] == summary["learning"]["labels"]
    assert learning["run"]["given"] == learning["equilibration"]["labels"]
    overrides = ["k=4", "timestep_fs=0.5", "length_ps=0.01", "equilibration_ps=0"]
    again = dynamics_run(
        folder / "water.safetensors", "water", override(RunSettings, overrides), tmp_path / "again"
    )
    assert again["residual_rms_meV_per_A"] < 0.2 * first
    assert frame.get_chemical_formula() == "H2O"


@pytest.mark.parametrize("model", ["organic-gfn2", "none"])
@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_a_run_that_goes_on_is_that_of_one_go(tmp_path: Path, model: str) -> None:
    for folder, lengths in (("twice", ("0.02", "0.03")), ("once", ("0.03",))):
        for length in lengths:
            words = [
                "run",
                "organic-gfn2",
                "water",
                *SHORT,
                "physics=GFN-FF",
                f"length_ps={length}",
            ]
            assert main([*words, "--output", str(tmp_path / folder)]) == 0
    one, other = (read_npz(tmp_path / name / "run.npz") for name in ("twice", "once"))
    for key in ("positions", "velocities", "energies", "time"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    assert read(tmp_path / "twice", "learning") == read(tmp_path / "once", "learning")
    models = [(tmp_path / name / "water.safetensors").read_bytes() for name in ("twice", "once")]
    assert models[0] == models[1]


def test_a_metropolized_run_has_learned_when_it_begins(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    more = ["metropolize=true", "thermostat=langevin", "learning.stop=10"]
    summary = dynamics_run("GFN1-xTB", "water", override(RunSettings, [*SHORT, *more]), folder)
    learning = read(folder, "learning")
    assert [*learning] == ["equilibration"]
    assert learning["equilibration"]["labels"] == 10
    step = learning["equilibration"]["frozen_at"]
    assert summary["learning"]["frozen_at_step"] == f"equilibration {step}"
    run = read_checkpoint(folder / "run.ckpt")
    assert run.options.learning is None
    assert run.options.k == learning["equilibration"]["k"][-1][1]
    base = CalculatorPotential(xtb_calculator("GFN1-xTB", 0, 1))
    load_model(folder / "water.safetensors", base=base)
    # The method and what was learned on it are named together.
    overrides = ["k=4", "timestep_fs=0.5", "length_ps=0.01", "equilibration_ps=0"]
    name = f"GFN1-xTB+{folder / 'water.safetensors'}"
    again = dynamics_run(name, "water", override(RunSettings, overrides), tmp_path / "again")
    blocks = learning["equilibration"]["blocks"]
    assert again["residual_rms_meV_per_A"] < 0.5 * blocks[0]["residual_meV_per_A"]
    # And learned on, it is no second correction beside the first.
    dynamics_run(
        name, "water", override(RunSettings, [*SHORT, "equilibration_ps=0"]), tmp_path / "2"
    )
    load_model(tmp_path / "2" / "water.safetensors", base=base)


def test_labels_are_kept_where_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.traj"
    settings = override(RunSettings, [*SHORT, "equilibration_ps=0", f"learning.file={file}"])
    summary = dynamics_run("organic-gfn2", "water", settings, tmp_path / "run")
    assert len(ase.io.read(file, ":")) == summary["learning"]["labels"] == summary["evaluations"]
    assert not (tmp_path / "run" / "run.labels.traj").exists()


def test_the_keys_are_those_of_learning() -> None:
    names = [field.name for field in dataclasses.fields(LearningSettings)]
    assert names == [field.name for field in dataclasses.fields(Learning)]
    assert LearningSettings().options() == Learning()
    words = ["learn=true", "learning.refit=wait", "learning.stop=300", "learning.labels=[a.traj]"]
    settings = override(RunSettings, words)
    assert settings.learning_options() == Learning(refit="wait", stop=300, labels=["a.traj"])
    assert override(RunSettings, as_overrides(settings)) == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning.stop=9"], "learning.stop is 9 and learn is false; it belongs to learn=true"),
        (["learn=true", "learning.stop=0"], "stop is 0"),
        (["learn=true", "learning.refit=later"], "refit is 'later'"),
        (["learn.refit=wait"], "did you mean 'learning.refit'"),
    ],
)
def test_wrong_settings(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(RunSettings, words)


def test_nothing_can_only_be_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "none", "water", "--output", str(tmp_path / "run")]) == 2
    assert "the model is none, from which a run can only learn" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
