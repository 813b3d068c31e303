"""The command that applies an observable to trajectories."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from PIL import Image

from kstep_integrators import Observable
from kstep_integrators.cli.main import main
from kstep_training.observables.observe import observe
from kstep_training.observables.observe.averages import averaged
from kstep_training.observables.observe.observe import run_observe
from tests.observables.files import couplings_file, ethene_pair, spectra_file


def pairs(folder, name, count=24, seed=0):
    rng, frames = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = ethene_pair(slide=rng.uniform(0.0, 3.0))
        atoms.rattle(0.02, rng=rng)
        frames.append(atoms)
    write(folder / name, frames)
    return frames


def test_couplings_of_two_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(observe, "PART", 10)
    file = couplings_file(tmp_path / "pairs.safetensors")
    runs = [pairs(tmp_path, f"{n}.xyz", seed=n) for n in range(2)]
    paths = [str(tmp_path / f"{n}.xyz") for n in range(2)]
    out = tmp_path / "out"
    words = ["observe", str(file), *paths, "interval_fs=20", "skip=2", "--output", str(out)]
    assert main(words) == 0
    observable = Observable.load(file)
    with np.load(out / "1.xyz.npz", allow_pickle=False) as arrays:
        expected = observable.measure(runs[1][2:], runs[0][2])["coupling"]
        assert arrays["coupling"] == pytest.approx(expected, abs=1e-6)
        assert arrays["time_fs"][[0, -1]] == pytest.approx([40.0, 460.0])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == 44
    assert summary["kind"], summary["unit"] == ("coupling", "eV")
    both = observable([*runs[0][2:], *runs[1][2:]])
    assert summary["mean"] == pytest.approx(both.mean(), abs=1e-6)
    assert summary["root_mean_square"] == pytest.approx(np.sqrt((both**2).mean()), abs=1e-6)
    assert min(Image.open(out / "observed.png").size) > 300
    assert "44 frames" in capsys.readouterr().out
    # What is done is kept: nothing is computed again.
    monkeypatch.setattr(Observable, "measure", None)
    assert main(words) == 0
    assert main([*words, "every=2"]) == 2
    assert "settings.every was 1, now 2" in capsys.readouterr().err


def test_runs_share_the_sign_of_the_first(tmp_path):
    file = couplings_file(tmp_path / "pairs.safetensors")
    turns = [(0.0, 30.0, 160.0), (180.0, 150.0, 20.0)]
    runs = [[ethene_pair(turn=turn) for turn in its] for its in turns]
    for number, frames in enumerate(runs):
        write(tmp_path / f"{number}.xyz", frames)
    paths = [tmp_path / f"{number}.xyz" for number in range(2)]
    summary = run_observe(file, paths, [], tmp_path / "out")
    expected = Observable.load(file)([*runs[0], *runs[1]])
    assert np.sign(expected).tolist() == [1, 1, -1, -1, -1, 1]
    assert summary["mean"] == pytest.approx(expected.mean(), abs=1e-6)
    with np.load(tmp_path / "out" / "1.xyz.npz") as arrays:
        assert arrays["coupling"] == pytest.approx(expected[3:], abs=1e-6)
    with pytest.raises(ValueError, match=r"first was '0\.xyz', now '1\.xyz'"):
        run_observe(file, paths[::-1], [], tmp_path / "out")


def test_a_frame_that_is_refused_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(observe, "PART", 2)
    apart = [ethene_pair() for _ in range(5)]
    apart[3].positions[0] += 20.0
    write(tmp_path / "0.xyz", apart)
    file = couplings_file(tmp_path / "pairs.safetensors")
    with pytest.raises(ValueError, match=r"frame 3 of those .*: C4H8 consists of 5 separate"):
        run_observe(file, [tmp_path / "0.xyz"], [], tmp_path / "out")


def test_runs_of_other_molecules_are_no_further_runs(tmp_path):
    file = spectra_file(tmp_path / "carbon.safetensors")
    for number, name in enumerate(("CH4", "C2H4")):
        write(tmp_path / f"{number}.xyz", molecule(name))
    paths = [tmp_path / f"{number}.xyz" for number in range(2)]
    with pytest.raises(ValueError, match=r"1\.xyz is of C2H4, .* than 0\.xyz, which is of CH4"):
        run_observe(file, paths, [], tmp_path / "out")


def test_spectra_of_a_run(tmp_path):
    frames = [molecule("CH3CHO") for _ in range(12)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=number)
    write(tmp_path / "run.traj", frames)
    file = spectra_file(tmp_path / "carbon.safetensors")
    summary = run_observe(file, [tmp_path / "run.traj"], ["every=1"], tmp_path / "out")
    spectra = Observable.load(file)(frames)
    assert summary["mean"] == pytest.approx(spectra.mean(axis=0).tolist())
    assert summary["spread"] == pytest.approx(spectra.std(axis=0).tolist(), abs=1e-12)
    assert len(summary["error"]) == 4
    assert summary["energies"] == [285.0, 286.0, 287.0, 288.0]
    with np.load(tmp_path / "out" / "run.traj.npz") as arrays:
        assert np.isnan(arrays["time_fs"]).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["skip=24"], "has 24 frames, and skip=24 leaves none"),
        (["every=0"], "every is 0, expected at least 1"),
        (["skip=-1"], "skip is -1, expected at least 0"),
        (["interval_fs=-1"], "interval_fs is -1.0, expected a number from 0"),
        (["evry=2"], "every"),
    ],
)
def test_what_is_refused(tmp_path, words, said):
    pairs(tmp_path, "0.xyz")
    file = couplings_file(tmp_path / "pairs.safetensors")
    with pytest.raises(ValueError, match=said):
        run_observe(file, [tmp_path / "0.xyz"], words, tmp_path / "out")


def test_names_and_files(tmp_path):
    file = couplings_file(tmp_path / "pairs.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.xyz"):
        run_observe(file, [tmp_path / "none.xyz"], [], tmp_path / "out")
    with pytest.raises(ValueError, match="expected names that differ"):
        run_observe(file, [tmp_path / "a/x.xyz", tmp_path / "b/x.xyz"], [], tmp_path / "out")


def test_an_error_of_the_mean_is_that_of_independent_frames():
    noise = np.random.default_rng(1).normal(size=(4, 4000))
    slow = np.repeat(noise[:, :1000], 4, axis=1)
    white, repeated = (averaged([{"x": run} for run in runs], "x") for runs in (noise, slow))
    assert white.error == pytest.approx(1.0 / np.sqrt(16000), rel=0.15)
    assert repeated.error == pytest.approx(1.0 / np.sqrt(4000), rel=0.15)
    few = averaged([{"x": noise[0, :3]}], "x")
    assert (few.error, few.effective_samples) == (None, None)
