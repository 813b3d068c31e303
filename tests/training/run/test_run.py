"""The stage run from molecule to files, under real physics, interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from kstep_integrators import DynamicsFailed, named_molecule
from kstep_integrators.cli import main
from kstep_integrators.diagnostics import bond_lengths
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.units import FS, KB
from kstep_training.options import override
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.run.run import RunSettings, dynamics_run
from kstep_training.run.start import read_inputs
from kstep_training.trajectory import Trajectory, read_npz
from tests.direct_systems import arguments

ROOT = Path(__file__).parents[3]
SHORT = ["k=4", "timestep_fs=0.5", "length_ps=0.04", "equilibration_ps=0.02"]


def short(*overrides: str) -> RunSettings:
    return override(RunSettings, [*SHORT, *overrides])


def read(folder: Path) -> tuple[dict[str, Any], Trajectory]:
    return json.loads((folder / "summary.json").read_text()), read_npz(folder / "run.npz")


def test_a_run_leaves_frames_labels_and_numbers(tmp_path: Path) -> None:
    summary = dynamics_run("organic-gfn2", "water", short("interval_fs=4"), tmp_path)
    result, run = read(tmp_path)
    assert summary == result
    assert (summary["status"], summary["strides"], summary["evaluations"]) == ("done", 20, 21)
    assert (summary["frames"], summary["labelled_frames"], len(run)) == (11, 11, 11)
    assert summary["equilibration"] == {"evaluations": 11, "fallbacks": 0}
    frames = ase.io.read(tmp_path / "run.traj", index=":")
    np.testing.assert_allclose(run.time / FS, 4.0 * np.arange(11), atol=1e-9)
    for i, atoms in enumerate(frames):
        np.testing.assert_allclose(run.positions[i], atoms.positions, atol=1e-12)
        np.testing.assert_allclose(run.velocities[i], atoms.get_velocities(), atol=1e-12)
        np.testing.assert_allclose(run.forces[i], atoms.get_forces(), atol=1e-12)
        assert run.energies[i] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert run.metadata["segments"] == [0]
    assert (run.metadata["interval_steps"], run.metadata["timestep_fs"]) == (8, pytest.approx(0.5))
    assert run.metadata["smiles"] == "O"
    total = np.array([atoms.get_total_energy() for atoms in frames])
    slope = np.polyfit(run.time / (1000 * FS), total, 1)[0]
    assert summary["drift_meV_per_atom_per_ps"] == pytest.approx(1000 * slope / 3, rel=1e-6)
    # Constant energy: three vibrations are left of nine coordinates.
    kinetic = np.mean([atoms.get_kinetic_energy() for atoms in frames])
    assert summary["temperature_K"] == pytest.approx(2 * kinetic / (3 * KB), rel=1e-6)
    assert summary["residual_rms_meV_per_A"] > 0.0


def test_a_direct_jump_runs_at_its_strides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "direct.safetensors"
    write_model(model, IncrementNetwork(**arguments()), ModelHeader("tiny", {}, "none"))
    folder = tmp_path / "run"
    command = ["run", str(model), "water", "length_ps=0.04", "equilibration_ps=0.02"]
    command += ["--output", str(folder)]
    assert main([*command, "k=3"]) == 2
    assert "k=3" in capsys.readouterr().err
    assert not folder.exists()
    assert main([*command, "k=2"]) == 0
    summary, run = read(folder)
    assert (summary["stride_fs"], summary["strides"]) == (pytest.approx(1.0), 40)
    assert summary["evaluations"] == 41
    assert summary["residual_rms_meV_per_A"] is None
    assert run.metadata["jump"]["jump"] == "direct"
    assert run.has_label.all()


def test_a_finished_run_is_reported_and_another_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "organic-gfn2", "water", *SHORT, "--output", str(tmp_path)]
    assert main(command) == 0
    assert "evaluations: 21" in capsys.readouterr().out
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert main(command) == 0
    assert "evaluations: 21" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert main([*command, "seed=1"]) == 2
    assert "other settings: run.seed was 0, now 1." in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_files_and_functions_that_were_edited_make_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames were reported as those of the molecule and the function of now."""
    (tmp_path / "stiff.py").write_text(
        "from ase.calculators.harmonic import HarmonicCalculator, HarmonicForceField\n"
        "import numpy as np\n"
        "STRENGTH = 30.0\n"
        "def make(atoms):\n"
        "    matrix = STRENGTH * np.eye(3 * len(atoms))\n"
        "    field = HarmonicForceField(ref_atoms=atoms, ref_energy=0.0, hessian_x=matrix)\n"
        "    return HarmonicCalculator(field)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    water = named_molecule("water")
    ase.io.write("my.xyz", water)
    settings = override(RunSettings, [*SHORT, "physics=stiff:make"])
    first = dynamics_run("organic-gfn2", "my.xyz", settings, "out")
    assert dynamics_run("organic-gfn2", "my.xyz", settings, "out") == first
    monkeypatch.setattr(sys.modules["stiff"], "STRENGTH", 31.0)
    with pytest.raises(ValueError, match=r"other settings: contents\.physics was"):
        dynamics_run("organic-gfn2", "my.xyz", settings, "out")
    monkeypatch.setattr(sys.modules["stiff"], "STRENGTH", 30.0)
    water.positions[0] += 0.01
    ase.io.write("my.xyz", water)
    with pytest.raises(ValueError, match=r"other settings: contents\.molecule was"):
        dynamics_run("organic-gfn2", "my.xyz", settings, "out")


def test_a_folder_named_as_the_molecule_is_no_molecule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = dynamics_run("organic-gfn2", "water", short(), "water")
    assert dynamics_run("organic-gfn2", "water", short(), "water") == first


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_a_finished_run_goes_on_to_a_greater_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["run", "organic-gfn2", "water", "physics=GFN-FF"]
    overrides += ["equilibration_ps=0.02", "thermostat=langevin"]
    lengths = {"twice": ("0.04", "0.08"), "once": ("0.08",)}
    for name, parts in lengths.items():
        for length in parts:
            folder = tmp_path / name
            assert main([*overrides, f"length_ps={length}", "--output", str(folder)]) == 0
    (longer, run), (summary, expected) = read(tmp_path / "twice"), read(tmp_path / "once")
    assert len(run) == len(expected) == summary["strides"] + 1
    for key in ("positions", "velocities", "energies", "time"):
        np.testing.assert_array_equal(getattr(run, key), getattr(expected, key))
    assert longer["evaluations"] == summary["evaluations"] == summary["strides"] + 1
    assert main([*overrides, "length_ps=0.04", "--output", str(tmp_path / "twice")]) == 2
    assert "holds a run of 0.08 ps" in capsys.readouterr().err


def test_settings_that_cannot_be_run_leave_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = ["run", "organic-gfn2", "water", "--output", str(folder)]
    assert main([*command, "corrector=delta"]) == 2
    assert "delta" in capsys.readouterr().err
    assert main([*command, "lenth_ps=1"]) == 2
    assert "did you mean 'length_ps'" in capsys.readouterr().err
    assert not folder.exists()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    code = "import sys; from kstep_integrators.cli import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "training")])
    return subprocess.Popen(
        [sys.executable, "-c", code, *command],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_interrupted_and_killed_is_the_same_as_neither(tmp_path: Path) -> None:
    overrides = ["physics=GFN-FF", "k=2", "length_ps=0.6", "equilibration_ps=0.03",
             "checkpoint_interval=4", "interval_fs=1", "thermostat=langevin"]  # fmt: skip
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    command = ["run", "organic-gfn2", "water", *overrides, "--output", str(cut)]
    for name, kind, code in (
        ("equilibration.ckpt", signal.SIGKILL, -signal.SIGKILL),
        ("run.ckpt", signal.SIGINT, 130),
        ("run.ckpt", signal.SIGKILL, -signal.SIGKILL),
    ):
        before = (cut / name).stat().st_mtime_ns if (cut / name).exists() else 0
        process = _started(command)
        deadline = time.monotonic() + 60.0
        while not ((cut / name).exists() and (cut / name).stat().st_mtime_ns > before):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(kind)
        with suppress(subprocess.TimeoutExpired):  # Python drops an interrupt in a destructor,
            process.wait(10)  # such as those that xtb's objects have: a user presses again
        if process.poll() is None:
            process.send_signal(kind)
        assert process.wait(60) == code
        assert not (cut / "summary.json").exists()
    assert _started(command).wait(120) == 0
    dynamics_run("organic-gfn2", "water", override(RunSettings, overrides), whole)
    for name in ("positions", "velocities", "forces", "energies", "time", "has_label"):
        np.testing.assert_array_equal(getattr(read(cut)[1], name), getattr(read(whole)[1], name))
    for key, value in read(whole)[0].items():
        if not key.endswith("_seconds"):
            assert read(cut)[0][key] == value, key


def test_a_failed_run_says_why_keeps_everything_and_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*SHORT, "on_error=stop", "force_tolerance=1e-6", "equilibration_ps=0"]
    command = ["run", "organic-gfn2", "water", *overrides, "--output", str(tmp_path)]
    for _ in range(2):
        assert main(command) == 1
        assert "force" in capsys.readouterr().err
        summary, run = read(tmp_path)
        assert (summary["status"], summary["strides"], len(run)) == ("failed", 0, 1)
        assert "force" in summary["reason"]
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        assert manifest["molecules"]["water"]["status"] == "failed"
    with pytest.raises(DynamicsFailed):
        dynamics_run("organic-gfn2", "water", override(RunSettings, overrides), tmp_path)


@pytest.mark.parametrize(
    ("overrides", "segments"),
    [
        (["thermostat=bussi"], list(range(21))),
        (["force_tolerance=1e-6"], list(range(21))),  # every jump is undone
        (["timestep_fs=0.25"], [0]),
    ],
)
def test_no_segment_spans_a_kick_or_a_fallback(
    tmp_path: Path, overrides: list[str], segments: list[int]
) -> None:
    summary = dynamics_run("organic-gfn2", "water", short(*overrides), tmp_path)
    assert summary["fallbacks"] == (20 if "force_tolerance=1e-6" in overrides else 0)
    assert read(tmp_path)[1].metadata["segments"][:21] == segments


def test_what_was_not_computed_has_no_label(tmp_path: Path) -> None:
    overrides = ["physics=pyscf", "metropolize=true", "thermostat=langevin", "corrector=none",
             "equilibration_ps=0", "extra_chances=1", "k=1"]  # fmt: skip
    summary = dynamics_run("GFN2-xTB", "[H][H]", short(*overrides), tmp_path)
    run = read(tmp_path)[1]
    assert summary["method"] == "hf/sto-3g"
    assert 0.0 < summary["acceptance"] <= 1.0
    assert summary["drift_meV_per_atom_per_ps"] is None
    assert summary["labelled_frames"] == run.has_label.sum() < len(run)
    assert np.isfinite(run.energies).all()
    assert np.isnan(run.forces[~run.has_label]).all()
    assert run.metadata["segments"] == list(range(len(run)))


def test_bonds_with_hydrogen_stay_as_long_as_the_force_field_says(tmp_path: Path) -> None:
    made = PrepSettings(conformers=1, constraints="HBonds")
    list(prepare([Molecule("methanol", "CO", 1)], tmp_path / "prep", made))
    overrides = ["physics=mm", "k=1", "timestep_fs=2", "length_ps=0.06", "equilibration_ps=0.02"]
    cheap = "organic-gfn2"
    molecule = str(tmp_path / "prep" / "methanol")
    summary = dynamics_run(cheap, molecule, override(RunSettings, overrides), tmp_path / "run")
    run = read(tmp_path / "run")[1]
    assert summary["method"] == run.metadata["method"] == "mmff94"
    assert run.metadata["constraints"] == "HBonds"
    inputs = read_inputs(cheap, molecule, override(RunSettings, overrides))
    (fixed,) = inputs.molecule.atoms.constraints
    assert len(fixed.pairs) == 4
    lengths = bond_lengths(run.positions, fixed.pairs)
    np.testing.assert_allclose(lengths, np.tile(fixed.bondlengths, (31, 1)), atol=1e-9)
    along = run.positions[:, fixed.pairs[:, 0]] - run.positions[:, fixed.pairs[:, 1]]
    rates = run.velocities[:, fixed.pairs[:, 0]] - run.velocities[:, fixed.pairs[:, 1]]
    np.testing.assert_allclose((along * rates).sum(2), 0.0, atol=1e-9)
    # 18 coordinates less 6 of the whole molecule and 4 bonds.
    kinetic = 0.5 * (run.masses[:, None] * run.velocities**2).sum((1, 2)).mean()
    assert summary["temperature_K"] == pytest.approx(2 * kinetic / (8 * KB), rel=1e-9)


def test_a_force_field_needs_a_prepared_molecule(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kstep prep has made"):
        read_inputs("organic-gfn2", "ethanol", RunSettings(physics="mm"))
    list(prepare([Molecule("water", "O", 1)], tmp_path, PrepSettings(conformers=1)))
    for name in ("charge", "multiplicity"):
        settings = RunSettings(physics="mm", **{name: 1})
        with pytest.raises(ValueError, match=f"{name} is 1, but the force field has its own"):
            read_inputs("organic-gfn2", str(tmp_path / "water"), settings)


def test_a_molecule_that_the_physics_cannot_take(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "x.xyz", Atoms("HH", positions=[[0, 0, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match="x with GFN2-xTB cannot be relaxed"):
        dynamics_run("organic-gfn2", str(tmp_path / "x.xyz"), short(), tmp_path / "run")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("physics=am1", "physics is 'am1', expected one of GFN2-xTB"),
        ("xc=pbe", "xc is 'pbe' and physics is 'GFN2-xTB'.*needs physics=pyscf"),
        ("thermostat=nose", "expected langevin, bussi or null"),
        ("metropolize=true", "needs thermostat=langevin"),
        ("k=0", "k is 0, expected at least 1"),
        ("checkpoint_interval=0", "expected at least 1"),
        ("multiplicity=0", "expected at least 1"),
        ("length_ps=0", "length_ps is 0.0, expected a positive"),
        ("timestep_fs=-1", "expected a positive"),
        ("interval_fs=.inf", "expected a positive"),
        ("equilibration_ps=-1", "expected a number from 0"),
        ("seed=-1", "whole number from 0"),
        ("taut_fs=50", "taut_fs is 50.0 and thermostat is None; it belongs to thermostat=bussi"),
    ],
)
def test_wrong_settings(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(RunSettings, [word])
