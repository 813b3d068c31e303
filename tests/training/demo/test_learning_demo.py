"""kstep demo --learn, small."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest

from kstep_integrators import load_model
from kstep_integrators.cli import main
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.models.molecules import named_molecules
from kstep_training.demo import OUTSIDE, DemoSettings
from kstep_training.demo.learn import blocks
from kstep_training.demo.learned_runs import LearnedRun
from kstep_training.inputs.molecules import read_molecule
from tests.direct_systems import untrained


def test_a_molecule_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["demo", "--learn", "--time", "24", "--output", str(tmp_path)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "base not adapted" in printed
    assert "Wrote demo.png" in printed
    report = json.loads((tmp_path / "demo.json").read_text())
    learning, base = report["runs"]
    # Strides grow, 1, 2 and then 4 fs, while those of the control are long from the first on.
    assert learning["stride_fs"][0] == pytest.approx(1.0)
    assert base["stride_fs"] == pytest.approx([4.0] * 6)
    assert sum(learning["stride_fs"]) == pytest.approx(24.0, abs=2.0)
    assert learning["residual_second_half_meV_per_A"] < 0.5 * base["residual_second_half_meV_per_A"]
    labels = ase.io.read(tmp_path / "labels.traj", ":")
    assert len(labels) == learning["evaluations"] == len(learning["stride_fs"]) + 1
    assert len(ase.io.read(tmp_path / "trajectory.traj", ":")) == len(labels)
    assert (tmp_path / "demo.png").stat().st_size > 20_000
    load_model(tmp_path / "dimethylformamide.safetensors", device="cpu")


def test_at_long_strides_its_energies_are_computed_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond 4 fs the run has estimates: what the demonstration shows is the physics, and not paid
    for by the run."""
    command = ["demo", "--learn", "--name", "water", "-k", "16", "--timestep", "0.5"]
    assert main([*command, "--time", "120", "--output", str(tmp_path)]) == 0
    learning, base = json.loads((tmp_path / "demo.json").read_text())["runs"]
    assert base["evaluations"] == base["record_evaluations"] == 16
    assert learning["evaluations"] == len(learning["stride_fs"]) + 1
    averaged = int((np.array(learning["stride_fs"]) > 2.1).sum())
    assert learning["record_evaluations"] == averaged > 0
    assert f"and {averaged} for the energies of this record alone" in capsys.readouterr().out
    assert len(ase.io.read(tmp_path / "labels.traj", ":")) == learning["evaluations"]


def test_the_molecule_is_outside_of_the_list() -> None:
    molecule = read_molecule(str(OUTSIDE))
    assert molecule.name == "dimethylformamide"
    assert molecule.name not in named_molecules()
    assert molecule.atoms.get_chemical_formula() == "C3H7NO"


def test_residuals_by_hand() -> None:
    def run(residual: list[float]) -> LearnedRun:
        strides = np.full(len(residual), 2.0)
        energy = np.zeros(len(residual) + 1)
        return LearnedRun("a", True, strides, np.array(residual), energy, 3, 1, 1.0, 1.0, 1.0)

    rows = blocks(run([3.0] * 10 + [1.0, 7.0]), run([5.0] * 10))
    assert [row["labels"] for row in rows] == [10, 12]
    assert [row["residual"] for row in rows] == pytest.approx([3.0, 5.0])
    assert [row["of_base"] for row in rows] == [pytest.approx(5.0), None]
    assert [row["time_fs"] for row in rows] == pytest.approx([20.0, 24.0])
    assert run([3.0, 4.0, 3.0, 5.0]).late_residual == pytest.approx(np.sqrt(17.0))


def test_what_cannot_learn_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="engine is 'openmm' with learn"):
        DemoSettings(engine="openmm", learn=True)
    model = tmp_path / "jump.safetensors"
    write_model(model, untrained(), ModelHeader("silent", {}, "GFN2-xTB"))
    command = ["demo", "--learn", "--name", "water", "--model", str(model)]
    assert main([*command, "--output", str(tmp_path / "x")]) == 2
    assert "which makes direct jumps" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
