"""Checkpoints that cannot be written, read or resumed say why, and nothing is changed."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import units
from ase.io.trajectory import Trajectory
from safetensors.torch import save_file

from kstep_integrators import (
    CheckpointError,
    DirectJump,
    Ensemble,
    FlowJump,
    Guard,
    KStepDynamics,
    KStepWarning,
    load_model,
)
from kstep_integrators.ase import checkpoint_file
from kstep_integrators.ase.checkpoint import make_generator
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.correctors import Impulse
from kstep_integrators.models.model_file import ModelHeader, bundled_models, write_model
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import cheap, hot, network, physics, potential
from tests.direct_systems import direct, untrained


@pytest.fixture
def run(tmp_path):
    """A run of four steps with all its files."""
    atoms = hot()
    atoms.calc = physics()
    KStepDynamics(
        atoms, cheap(depth=1.8), k=4, trajectory=tmp_path / "md.traj", logfile=tmp_path / "md.log",
        checkpoint=tmp_path / "run.ckpt",
    ).run(4)  # fmt: skip
    return tmp_path


def resume(folder, model=None):
    return KStepDynamics.resume(folder / "run.ckpt", physics(), model or cheap(depth=1.8))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder, message, error=ValueError, **arguments):
    before = content(folder)
    with pytest.raises(error, match=message):
        resume(folder, **arguments)
    assert content(folder) == before


def test_there_is_none(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*run.ckpt"):
        resume(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, 2000, -1, -500])
def test_truncated(keep, run):
    path = run / "run.ckpt"
    path.write_bytes(path.read_bytes()[:keep])
    refused(run, "is not a readable checkpoint; it is damaged or another", CheckpointError)


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9, 0.999])
def test_one_bit_flipped(where, run):
    path = run / "run.ckpt"
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    refused(run, "is damaged|is not a readable checkpoint", CheckpointError)


def test_foreign_files(run):
    shutil.copy(run / "md.traj", run / "run.ckpt")
    refused(run, "not a readable checkpoint", CheckpointError)
    save_file({"x": torch.zeros(2)}, str(run / "run.ckpt"))
    refused(run, "is a safetensors file, but no checkpoint", CheckpointError)
    shutil.copy(bundled_models()["organic-gfn2"], run / "run.ckpt")
    refused(run, "is a safetensors file, but no checkpoint", CheckpointError)


def test_another_format_version(run, monkeypatch):
    monkeypatch.setattr("kstep_integrators.ase.checkpoint_file.FORMAT_VERSION", 8)
    refused(run, "has checkpoint format version 7; this version .* reads 8", CheckpointError)


def test_a_state_of_another_version_of_the_package(run, monkeypatch):
    types = {**vars(checkpoint_file)["_TYPES"]}
    types["PhasePoint"] = lambda state: None
    monkeypatch.setattr("kstep_integrators.ase.checkpoint_file._TYPES", types)
    refused(run, "was written by kstep-integrators of another version", CheckpointError)


def test_other_packages_are_warned_of(run, monkeypatch):
    monkeypatch.setattr(
        "kstep_integrators.ase.checkpoint._version",
        lambda name: "1.0" if name == "torch" else read_checkpoint(run / "run.ckpt").versions[name],
    )
    with pytest.warns(UserWarning, match=r"written with torch \d.*, now 1.0: the run may not"):
        resume(run)


def test_another_calculator_is_warned_of(run):
    with pytest.warns(UserWarning, match=r"\(calculator 'morsenetwork', now 'brokencalculator'\)"):
        KStepDynamics.resume(run / "run.ckpt", BrokenCalculator(physics(), []), cheap(depth=1.8))


def test_a_trajectory_that_is_not_the_one(run):
    path = run / "md.traj"
    whole = path.read_bytes()
    with Trajectory(path) as trajectory:
        frames = list(trajectory)
    path.unlink()
    refused(run, r"md.traj holds 0 frames, the checkpoint was written after 5")
    with Trajectory(path, "w") as trajectory:
        for frame in frames[:4]:
            trajectory.write(frame)
    refused(run, r"md.traj holds 4 frames, the checkpoint was written after 5")
    path.write_bytes(whole[:-30])
    refused(run, r"holds 5 frames, the checkpoint was written after 5: it was moved, cut")
    with Trajectory(path, "w") as trajectory:
        for frame in frames[::-1] * 2:
            trajectory.write(frame)
    refused(run, r"md.traj is not the one that the checkpoint .* frame 4 differs")
    path.write_text("positions " * 5000)
    refused(run, "md.traj is not an ASE trajectory")
    path.write_bytes(whole)
    resume(run)


def test_a_log_that_is_not_the_one(run):
    path = run / "md.log"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(run, rf"md.log holds {len(whole) - 1} bytes, fewer than the {len(whole)}")
    path.write_bytes(whole.replace(b"0.0000", b"0.0001"))
    refused(run, "md.log is not the one that the checkpoint was written with")
    path.unlink()
    refused(run, "holds 0 bytes, fewer than")
    path.write_bytes(whole)
    resume(run)


def test_a_calculator_as_the_model_has_to_be_given(run):
    with pytest.raises(ValueError, match=r"cannot make the model of its run again: pass it with"):
        KStepDynamics.resume(run / "run.ckpt", physics())


def test_another_model(run):
    other = "the model is not the one .*calculator was .*'morsenetwork'.*, now None; .*sha256 was"
    refused(run, other, model=potential())
    refused(run, "timestep=.* given, but|timestep was .*, now", model=FlowJump(cheap(), 1.0))
    refused(run, "model is a float; expected", TypeError, model=3.0)


def model_file(path, seed):
    built = network(seed=seed)
    write_model(path, built, ModelHeader("mine", built.config, "none"))
    return load_model(path, device="cpu")


def test_a_model_file_is_found_and_its_hash_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = model_file("mine.safetensors", 0)
    atoms = hot()
    atoms.calc = physics()
    KStepDynamics(atoms, "mine.safetensors", k=2, checkpoint="run.ckpt", device="cpu").run(1)
    assert KStepDynamics.resume("run.ckpt", physics()).jump.describe()["sha256"] == first.digest
    (tmp_path / "mine.safetensors").rename("moved.safetensors")
    with pytest.raises(ValueError, match=r"model of the checkpoint cannot be loaded: no model"):
        KStepDynamics.resume("run.ckpt", physics())
    KStepDynamics.resume("run.ckpt", physics(), "moved.safetensors")
    other = model_file("mine.safetensors", 1)
    with pytest.raises(ValueError, match=f"sha256 was {first.digest}, now {other.digest}"):
        KStepDynamics.resume("run.ckpt", physics())
    double = load_model("moved.safetensors", device="cpu", dtype=torch.float64)
    with pytest.raises(ValueError, match="dtype was float32, now float64"):
        KStepDynamics.resume("run.ckpt", physics(), double)


def test_a_file_of_increments_is_found_and_its_hash_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model("mine.safetensors", untrained(), ModelHeader("mine", {}, "none"))
    first = load_model("mine.safetensors", device="cpu")
    atoms = hot()
    atoms.calc = physics()
    KStepDynamics(atoms, "mine.safetensors", k=2, checkpoint="run.ckpt", device="cpu").run(1)
    found = KStepDynamics.resume("run.ckpt", physics()).jump
    assert isinstance(found, DirectJump)
    assert found.describe() == first.describe()
    write_model("mine.safetensors", untrained(seed=1), ModelHeader("mine", {}, "none"))
    with pytest.raises(ValueError, match=f"sha256 was {first.digest}, now "):
        KStepDynamics.resume("run.ckpt", physics())
    longer = untrained(strides=(2, 16))
    with pytest.raises(ValueError, match=r"strides was \[2, 4, 8\], now \[2, 16\]"):
        KStepDynamics.resume("run.ckpt", physics(), direct(longer))
    with pytest.raises(ValueError, match=r"jump was direct, now flow"):
        KStepDynamics.resume("run.ckpt", physics(), "organic-gfn2")


def test_a_run_of_the_gpu_goes_on_without_one(tmp_path, monkeypatch):
    atoms = hot()
    atoms.calc = physics()
    path = tmp_path / "run.ckpt"
    KStepDynamics(atoms, "organic-gfn2", k=2, checkpoint=path, device="cpu").run(1)
    found = read_checkpoint(path)
    found.jump["device"] = "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("kstep_integrators.ase.dynamics.read_checkpoint", lambda _: found)
    with pytest.warns(
        UserWarning, match="other rounding than it began with: device was cuda, now cpu"
    ):
        KStepDynamics.resume(path, physics())


class MyImpulse(Impulse):
    pass


class MyGuard(Guard):
    pass


class MyBits(np.random.PCG64):
    @property
    def state(self):
        return {"bit_generator": "MyBits"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint_interval": 0}, "checkpoint_interval is 0, expected an integer >= 1"),
        ({"checkpoint_interval": 2.5}, "checkpoint_interval is 2.5, expected"),
        ({"checkpoint_interval": True}, "checkpoint_interval is True, expected"),
        ({"checkpoint": None, "checkpoint_interval": 5}, "interval=5 without a checkpoint"),
        ({"corrector": MyImpulse()}, "the corrector is a MyImpulse, and a checkpoint keeps only"),
        ({"guard": MyGuard()}, "the guard is a MyGuard, and a checkpoint keeps only a Guard"),
        ({"rng": np.random.Generator(MyBits())}, "cannot keep the bit generator 'MyBits'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, atoms, tmp_path):
    with pytest.raises(ValueError, match=message):
        KStepDynamics(atoms, cheap(), **{"checkpoint": tmp_path / "run.ckpt", **arguments})


def test_open_files_cannot_be_cut(atoms, tmp_path):
    path = tmp_path / "run.ckpt"
    log = io.StringIO()
    with pytest.raises(ValueError, match="logfile is an open StringIO"):
        KStepDynamics(atoms, cheap(), logfile=log, checkpoint=path)
    trajectory = Trajectory(tmp_path / "md.traj", "w")
    with pytest.raises(ValueError, match="trajectory is an open TrajectoryWriter"):
        KStepDynamics(atoms, cheap(), trajectory=trajectory, checkpoint=path)
    trajectory.close()


def test_a_folder_that_is_not_there(atoms, tmp_path):
    path = tmp_path / "no" / "run.ckpt"
    with pytest.raises(FileNotFoundError, match=r"run\.ckpt', but there is no folder '.*no'; make"):
        KStepDynamics(atoms, cheap(), checkpoint=path)
    with pytest.raises(FileNotFoundError, match=r"run\.ckpt', but there is no folder '.*no'; make"):
        Ensemble([hot()], cheap(), lambda atoms: physics(), checkpoint=path)
    path.parent.mkdir()
    dynamics = KStepDynamics(atoms, cheap(), checkpoint=path)
    dynamics.run(1)
    assert read_checkpoint(path).nsteps == 1


def test_what_another_run_has_left_is_not_lost_in_silence(atoms, tmp_path):
    names = {"checkpoint": tmp_path / "run.ckpt", "trajectory": tmp_path / "md.traj"}
    KStepDynamics(atoms, cheap(), **names).run(2)
    with pytest.raises(FileExistsError, match=r"run\.ckpt', which exists: go on with .* resume\("):
        KStepDynamics(atoms, cheap(), **names)
    with pytest.raises(FileExistsError, match=r"run\.ckpt', which exists: go on with .* resume\("):
        Ensemble([hot()], cheap(), lambda atoms: physics(), checkpoint=names["checkpoint"])
    assert len(Trajectory(names["trajectory"])) == 3
    with pytest.warns(KStepWarning, match=r"md\.traj exists and is begun anew, as in ASE"):
        KStepDynamics(atoms, cheap(), trajectory=names["trajectory"]).run(1)
    assert len(Trajectory(names["trajectory"])) == 2


def test_files_beside_a_checkpoint_are_found_from_other_folders(atoms, tmp_path, monkeypatch):
    atoms.calc = physics()
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    (tmp_path / "run" / "frames").mkdir()
    KStepDynamics(
        atoms, cheap(), checkpoint="run.ckpt", trajectory="frames/md.traj", logfile="md.log"
    ).run(2)
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "run").rename(tmp_path / "moved")
    KStepDynamics.resume(Path("../moved/run.ckpt"), physics(), cheap()).run(1)
    assert len(Trajectory(tmp_path / "moved" / "frames" / "md.traj")) == 4
    assert len((tmp_path / "moved" / "md.log").read_text().splitlines()) == 5
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("edit", ["charges", "positions", "momenta"])
def test_an_edit_after_the_last_step_is_in_the_checkpoint_of_the_next_run(edit, atoms, tmp_path):
    atoms.calc, path = physics(), tmp_path / "run.ckpt"
    dynamics = KStepDynamics(atoms, cheap(), checkpoint=path)
    dynamics.run(2)
    if edit == "charges":
        atoms.set_initial_charges(np.linspace(-0.1, 0.1, len(atoms)))
    elif edit == "positions":
        atoms.positions[0] += 0.02
    else:
        atoms.set_momenta(0.5 * atoms.get_momenta())
    dynamics.run(0)
    resumed = KStepDynamics.resume(path, physics(), cheap())
    for one in (dynamics, resumed):
        one.run(2)
    np.testing.assert_array_equal(resumed.atoms.positions, atoms.positions)
    np.testing.assert_array_equal(resumed.atoms.get_momenta(), atoms.get_momenta())
    charges = [one.get_initial_charges() for one in (atoms, resumed.atoms)]
    np.testing.assert_array_equal(*charges)
    assert resumed.stats.physics_evaluations == dynamics.stats.physics_evaluations


def test_another_setting_of_the_physics_is_warned_of_and_evaluated(atoms, tmp_path):
    """The first half-kick and the energy of the new method, not of the old one."""
    atoms.calc, path = physics(), tmp_path / "run.ckpt"
    KStepDynamics(atoms, cheap(), checkpoint=path, trajectory=tmp_path / "md.traj").run(2)
    other = physics(depth=1.7)
    text = r"another calculator \(depth 2\.0, now 1\.7\): .* evaluated anew where it stands"
    with pytest.warns(KStepWarning, match=text):
        resumed = KStepDynamics.resume(path, other, cheap())
    fresh = resumed.atoms.copy()
    fresh.calc = physics(depth=1.7)
    begun = KStepDynamics(fresh, cheap())
    begun.run(2)
    resumed.run(2)
    np.testing.assert_array_equal(resumed.atoms.positions, fresh.positions)
    np.testing.assert_array_equal(resumed.atoms.get_momenta(), fresh.get_momenta())
    assert resumed.stats.physics_evaluations == 3 + 3
    resumed = KStepDynamics.resume(path, physics(depth=1.7), cheap())  # it is on record now
    assert resumed.nsteps == 4


def test_generators_of_others_are_refused():
    with pytest.raises(ValueError, match="cannot keep the bit generator None"):
        make_generator({})


def test_units_are_not_mixed_up(run):
    assert resume(run).get_time() == pytest.approx(16 * 0.25 * units.fs)
