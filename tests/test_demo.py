"""The demonstration from end to end, small."""

import json

import pytest
from ase.io import read

from kstep_integrators.cli import main


@pytest.mark.slow
def test_a_small_demonstration(tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["demo", "--name", "water", "--time", "60", "--no-compile"]
    assert main([*arguments, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "Break-even" in printed
    assert (output / "demo.png").stat().st_size > 20_000
    report = json.loads((output / "demo.json").read_text())
    runs = {run["name"]: run for run in report["runs"]}
    assert runs["Verlet 0.5 fs"]["evaluations"] == 121
    assert runs["Verlet 1 fs"]["evaluations"] == 61
    assert runs["k-step 2 fs"]["evaluations"] == 31
    frames = read(output / "trajectory.traj", ":")
    assert len(frames) == 31


def test_a_molecule_that_is_not_there(capsys, tmp_path):
    assert main(["demo", "--name", "ethanal", "--output", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kstep: error:")
    assert error.count("\n") == 1
