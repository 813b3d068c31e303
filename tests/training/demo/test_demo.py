"""The demonstration from end to end, small."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from kstep_integrators import DynamicsFailed, named_molecule
from kstep_integrators.cli import main
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_training.demo.runs import make_run
from kstep_training.demo.settings import DemoSettings
from kstep_training.evaluate.plan import Method
from tests.direct_systems import silence, untrained
from tests.training import evaluate_physics


@pytest.mark.slow
def test_a_small_demonstration(tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["demo", "--name", "water", "--time", "60"]
    assert main([*arguments, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "Break-even" in printed
    assert "Mollified kicks at 8 fs" in printed
    assert (output / "demo.png").stat().st_size > 20_000
    report = json.loads((output / "demo.json").read_text())
    runs = {run["name"]: run for run in report["runs"]}
    assert runs["Verlet 0.5 fs"]["evaluations"] == 121
    assert runs["Verlet 1 fs"]["evaluations"] == 61
    assert runs["k-step 2 fs"]["evaluations"] == 31
    kick = report["mollified_at_8_fs"]
    assert 5 * kick["force_seconds"] < kick["kick_seconds"] < 200 * kick["force_seconds"]
    frames = read(output / "trajectory.traj", ":")
    assert len(frames) == 31


@pytest.mark.slow
def test_a_demonstration_of_direct_jumps(tmp_path, capsys):
    model = tmp_path / "jump.safetensors"
    write_model(model, silence(untrained()), ModelHeader("silent", {}, "GFN2-xTB"))
    arguments = ["demo", "--name", "water", "--time", "30", "--model", str(model)]
    assert main([*arguments, "-k", "2", "--output", str(tmp_path)]) == 0
    assert "Break-even" in capsys.readouterr().out
    report = json.loads((tmp_path / "demo.json").read_text())
    runs = {run["name"]: run for run in report["runs"]}
    assert list(runs) == ["Verlet 0.5 fs", "Verlet 1 fs", "direct 1 fs"]
    assert runs["direct 1 fs"]["evaluations"] == 31
    # Without increments it is Verlet at the stride.
    for name in ("drift", "fluctuation"):
        for key, value in runs["Verlet 1 fs"].items():
            if key.startswith(name):
                assert runs["direct 1 fs"][key] == pytest.approx(value, rel=1e-3)
    assert main([*arguments, "-k", "3", "--output", str(tmp_path)]) == 2
    assert "can make strides of [2, 4, 8]" in capsys.readouterr().err
    assert main([*arguments, "-k", "2", "--engine", "openmm", "--output", str(tmp_path)]) == 0
    inside = json.loads((tmp_path / "demo.json").read_text())
    assert [run["evaluations"] for run in inside["runs"] if run["name"] == "direct 1 fs"] == [31]


def test_a_molecule_that_is_not_there(capsys, tmp_path):
    assert main(["demo", "--name", "ethanal", "--output", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kstep: error:")
    assert error.count("\n") == 1


def test_a_file_that_is_no_molecule(capsys, tmp_path):
    missing, crystal = tmp_path / "missing.xyz", tmp_path / "crystal.xyz"
    assert main(["demo", "--xyz", str(missing), "--output", str(tmp_path / "x")]) == 2
    assert f"there is no file {missing}" in capsys.readouterr().err
    bulk("Cu").write(crystal, format="extxyz")
    assert main(["demo", "--xyz", str(crystal), "--output", str(tmp_path / "x")]) == 2
    assert "is periodic" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_run_that_is_lost_is_a_failure_of_the_dynamics(tmp_path):
    method = Method("Verlet 4 fs", "dynamics", "control", "verlet", 4.0, 4.0, 0.04)
    atoms = named_molecule("water")
    atoms.set_momenta(np.ones((3, 3)))
    settings = DemoSettings(output=tmp_path)
    with pytest.raises(DynamicsFailed, match=r"Verlet 4 fs was lost: .* total energy changed"):
        make_run(method, atoms, None, evaluate_physics.stiff, settings)


@pytest.mark.slow
def test_the_same_demonstration_in_openmm(tmp_path, capsys):
    """Jumps in OpenMM are those in ASE: as many evaluations, the same path."""
    frames = {}
    for engine in ("ase", "openmm"):
        output = tmp_path / engine
        arguments = ["demo", "--name", "water", "--time", "30", "--engine", engine]
        assert main([*arguments, "--output", str(output)]) == 0
        assert ("jumps in OpenMM" in capsys.readouterr().out) == (engine == "openmm")
        report = json.loads((output / "demo.json").read_text())
        runs = {run["name"]: run for run in report["runs"]}
        assert runs["k-step 2 fs"]["evaluations"] == 16
        assert runs["potential only"]["evaluations"] == 16
        frames[engine] = read(output / "trajectory.traj", ":")
    assert len(frames["openmm"]) == len(frames["ase"]) == 16
    for one, other in zip(frames["ase"], frames["openmm"], strict=True):
        assert one.positions == pytest.approx(other.positions, abs=1e-5)
        assert one.get_total_energy() == pytest.approx(other.get_total_energy(), abs=1e-4)
