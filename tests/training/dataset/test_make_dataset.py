"""The stage: what it writes, that it resumes and grows, and what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from kstep_training.dataset.dataset_file import open_dataset, verify
from kstep_training.dataset.make_dataset import (
    DatasetSettings,
    find_trajectories,
    make_dataset,
    run_dataset,
)
from kstep_training.fit.structure_losses import InternalCoordinates, structure_penalty
from kstep_training.trajectory import Trajectory, write_npz
from tests.training.trajectories import dynamics

SETTINGS = DatasetSettings(k=[2], split="trajectory", validation_fraction=0.0, test_fraction=0.0)


def simulated(folder: Path, formulas: tuple[str, ...] = ("H2O", "NH3"), segments: int = 2) -> Path:
    """As ``kstep simulate`` writes it: two trajectories of each molecule."""
    for part in ("production", "equilibration", "distorted"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for m, formula in enumerate(formulas):
        for number in range(2):
            name = f"{formula}.300K.{number}"
            for segment in range(segments):
                seed = 100 * m + 10 * number + segment
                write_npz(
                    folder / "production" / f"{name}.{segment}.npz",
                    dynamics(formula, 8, seed, trajectory=number, segment=segment),
                )
            write_npz(
                folder / "equilibration" / f"{name}.npz",
                dynamics(formula, 5, 50, stage="equilibration"),
            )
    return folder


def distort(folder: Path, name: str = "H2O.300K.0") -> Path:
    write_npz(folder / "distorted" / f"{name}.npz", dynamics("H2O", 3, 7, stage="distorted"))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return simulated(tmp_path / "mm")


def stamp(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "shards").glob("*.npy")}


def test_what_is_written(source: Path, tmp_path: Path) -> None:
    dataset = make_dataset([distort(source)], tmp_path / "out", SETTINGS)
    names = ["H2O.300K.0", "H2O.300K.1", "NH3.300K.0", "NH3.300K.1"]
    assert [shard.name for shard in dataset.shards] == names
    # Equilibration counts for nothing; three distorted frames are in the first shard.
    assert [shard.frames for shard in dataset.shards] == [19, 16, 16, 16]
    first = dataset.shards[0]
    rows = np.load(tmp_path / "out" / "shards" / "H2O.300K.0.npy", allow_pickle=False)
    assert rows.dtype.names == ("positions", "velocities", "forces", "energy")
    assert rows["positions"].dtype == np.float64
    # The distorted file sorts first; its frames are in no segment.
    assert first.segments == ((3, 11), (11, 19))
    np.testing.assert_allclose(rows["forces"][11:], dynamics("H2O", 8, 1).forces, atol=1e-10)
    assert (dataset.method, dataset.timestep_fs, dataset.constraints) == ("springs", 0.5, None)
    assert [m.name for m in dataset.molecules] == ["H2O", "NH3"]
    assert dataset.molecules[0].numbers == (8, 1, 1)
    assert dataset.molecules[0].smiles == "H2O"
    assert dataset.settings == json.loads(json.dumps(dataclasses.asdict(SETTINGS)))
    assert dataset.elements == [1, 7, 8]
    for shard in dataset.shards:
        content = dataset.path(shard).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    verify(dataset)


def test_statistics_of_the_training_part(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, test=["NH3"])
    with pytest.raises(
        ValueError, match=r"NH3 is in the test part and has the atomic numbers \[7\]"
    ):
        make_dataset([source], tmp_path / "out", settings)
    extra = simulated(tmp_path / "more", ("CH3OH", "HCN", "N2"))
    settings = dataclasses.replace(settings, test=["CH3OH"], validation=["NH3"])
    with pytest.raises(ValueError, match="CH3OH is in the test part"):
        make_dataset([source, simulated(tmp_path / "less", ("CH3OH",))], tmp_path / "two", settings)
    dataset = make_dataset([source, extra], tmp_path / "three", settings)
    parts = {shard.molecule: shard.part for shard in dataset.shards}
    assert parts == {
        "CH3OH": "test", "NH3": "validation", "H2O": "train", "HCN": "train", "N2": "train"
    }  # fmt: skip
    assert dataset.elements == [1, 6, 7, 8]
    frames = {
        name: [
            dynamics(name, 8, s + {"H2O": 0, "HCN": 100, "N2": 200}[name]) for s in (0, 1, 10, 11)
        ]
        for name in ("H2O", "HCN", "N2")
    }
    counts = np.array([[2.0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 2, 0]])
    means = [np.mean([t.energies for t in frames[name]]) for name in frames]
    shifts = np.array(dataset.statistics["shifts"])
    np.testing.assert_allclose(counts @ shifts, means, rtol=1e-12)
    np.testing.assert_allclose(shifts, np.linalg.lstsq(counts, np.array(means), rcond=None)[0])
    nearest = np.array(dataset.statistics["nearest"])
    oh = min(
        np.linalg.norm(t.positions[:, 0] - t.positions[:, i], axis=1).min()
        for t in frames["H2O"]
        for i in (1, 2)
    )
    assert nearest[0, 3] == nearest[3, 0] == pytest.approx(oh, rel=1e-12)
    # No carbon-oxygen pair in training: the covalent radii.
    assert nearest[1, 3] == pytest.approx(covalent_radii[6] + covalent_radii[8])


def test_equilibrium_statistics(source: Path, tmp_path: Path) -> None:
    """Means over training frames, but not the distorted ones; over all of other molecules."""
    settings = dataclasses.replace(SETTINGS, validation_fraction=0.5, seed=3)
    dataset = make_dataset([distort(source)], tmp_path / "out", settings)
    parts = {shard.name: shard.part for shard in dataset.shards}
    assert {parts["H2O.300K.0"], parts["H2O.300K.1"]} == {"train", "validation"}
    number = 0 if parts["H2O.300K.0"] == "train" else 1
    x = np.concatenate([dynamics("H2O", 8, 10 * number + s).positions for s in (0, 1)])
    for i in (1, 2):
        q = np.linalg.norm(x[:, 0] - x[:, i], axis=1)
        bonds = dataset.molecules[0].coordinates["bonds"]
        place = bonds["indices"].index([0, i])
        assert bonds["mean"][place] == pytest.approx(q.mean(), rel=1e-12)
        assert bonds["std"][place] == pytest.approx(q.std(), rel=1e-9)
    held_out = dataclasses.replace(SETTINGS, validation=["H2O"], test_fraction=0.0)
    again = make_dataset(
        [distort(source), simulated(tmp_path / "more", ("CH3OH",))], tmp_path / "held", held_out
    )
    water = again.molecule("H2O").coordinates["bonds"]
    x = np.concatenate([dynamics("H2O", 8, seed).positions for seed in (0, 1, 10, 11)])
    q = np.linalg.norm(x[:, 0] - x[:, 1], axis=1)
    place = water["indices"].index([0, 1])
    assert water["mean"][place] == pytest.approx(q.mean(), rel=1e-12)
    assert water["std"][place] == pytest.approx(q.std(), rel=1e-9)


def test_a_molecule_of_distorted_frames_only(source: Path, tmp_path: Path) -> None:
    write_npz(source / "distorted" / "PH3.300K.0.npz", dynamics("PH3", 3, stage="distorted"))
    dataset = make_dataset([source], tmp_path / "out", SETTINGS)
    bonds = dataset.molecule("PH3").coordinates["bonds"]
    assert (len(bonds["indices"]), sorted(bonds)) == (3, ["indices"])  # no equilibrium
    coordinates = InternalCoordinates.of(dataset)
    assert coordinates.bonds.mask.sum(1).tolist() == [2, 3, 0]  # water, ammonia, phosphine
    x = torch.zeros(1, 4, 3)
    assert not structure_penalty(x, torch.tensor([2]), coordinates, 1.0).any()


def test_finished_shards_are_kept(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = make_dataset([source], out, SETTINGS)
    stamps = stamp(out)
    again = make_dataset([source], out, SETTINGS)
    assert stamp(out) == stamps
    assert again == first
    # One more molecule: its shards only.
    more = make_dataset([source, simulated(tmp_path / "more", ("CH4",))], out, SETTINGS)
    assert {name: stamp(out)[name] for name in stamps} == stamps
    assert len(more.shards) == 6
    assert more.content_hash != first.content_hash
    # A trajectory that went on: its shard is made again.
    write_npz(source / "production" / "H2O.300K.1.2.npz", dynamics("H2O", 8, 77, segment=2))
    grown = make_dataset([source], out, SETTINGS)
    changed = {name for name, time in stamp(out).items() if time != stamps.get(name, time)}
    assert changed == {"H2O.300K.1.npy"}
    assert len(grown.shards) == 6  # what is in the dataset stays in it
    assert [s.frames for s in grown.shards if s.name == "H2O.300K.1"] == [24]


def test_an_interrupted_run_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    expected = make_dataset([source], tmp_path / "whole", SETTINGS)
    from kstep_training.dataset import make_dataset as stage

    write = stage.write_shard

    def interrupted(folder: Path, name: str, *arguments: Any) -> dict[str, Any]:
        if name == "NH3.300K.0":
            raise KeyboardInterrupt
        return write(folder, name, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_dataset([source], out, SETTINGS)
    with pytest.raises(ValueError, match="is unfinished; run kstep dataset again"):
        open_dataset(out)
    stamps = stamp(out)
    assert set(stamps) == {"H2O.300K.0.npy", "H2O.300K.1.npy"}
    (out / "shards" / "NH3.300K.0.npy").write_bytes(b"half a sh")  # killed before its record
    result = make_dataset([source], out, SETTINGS)
    assert {name: stamp(out)[name] for name in stamps} == stamps
    assert dataclasses.replace(result, folder=expected.folder) == expected


def test_a_damaged_shard_is_refused_and_made_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset = make_dataset([source], out, SETTINGS)
    path = dataset.path(dataset.shards[2])
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=rf"NH3.300K.0.npy has {len(content) - 1} bytes, but"):
        open_dataset(out)
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"NH3.300K.0.npy has the SHA-256 .*, but dataset.json"):
        verify(open_dataset(out))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"NH3.300K.0.npy"):
        open_dataset(out)
    assert make_dataset([source], out, SETTINGS) == dataset
    assert path.read_bytes() == content


def test_the_content_hash_is_of_the_content(source: Path, tmp_path: Path) -> None:
    """Not of the place or the order, but of settings, parts and every number."""
    original = make_dataset([source], tmp_path / "one", SETTINGS).content_hash
    shutil.copytree(source, tmp_path / "elsewhere")
    parts = [tmp_path / "elsewhere" / part for part in ("production", "distorted")]
    shutil.rmtree(parts[1])
    same = make_dataset([parts[0]], tmp_path / "two", SETTINGS)
    assert same.content_hash == original
    seeded = dataclasses.replace(SETTINGS, seed=1)
    assert make_dataset([source], tmp_path / "three", seeded).content_hash != original
    other = dynamics("H2O", 8, 0, trajectory=0, segment=0)
    other.positions[3, 1, 2] += 1e-9
    write_npz(parts[0] / "H2O.300K.0.0.npz", other)
    assert make_dataset([parts[0]], tmp_path / "four", SETTINGS).content_hash != original


def test_one_trajectory_from_several_folders(source: Path, tmp_path: Path) -> None:
    """Equal names are one trajectory, which is never in two parts; a folder counts once."""
    other = tmp_path / "second"
    (other / "production").mkdir(parents=True)
    langevin = {"settings": {"production": "langevin"}}
    write_npz(other / "production" / "H2O.300K.0.0.npz", dynamics("H2O", 6, 9, **langevin))
    result = find_trajectories([source, other, source / "production"])
    assert len(result) == 4
    assert len(result["H2O.300K.0"]) == 3
    dataset = make_dataset([source, other], tmp_path / "out", SETTINGS)
    shard = dataset.shards[0]
    assert shard.frames == 22
    assert shard.segments == ((0, 8), (8, 16))  # none in the Langevin frames


def test_copies_of_trajectories(source: Path, tmp_path: Path) -> None:
    """Under another path they would count twice, or as an extension of what is gone."""
    out = tmp_path / "out"
    make_dataset([source], out, SETTINGS)
    copied = tmp_path / "copied"
    shutil.copytree(source, copied)
    with pytest.raises(ValueError, match=r"0.0.npz holds the same frames as .*0.0.npz; give one"):
        make_dataset([copied], out, SETTINGS)
    shutil.rmtree(source)
    with pytest.raises(FileNotFoundError, match=r"H2O.300K.0.0.npz, from which a shard .* is gone"):
        make_dataset([copied], out, SETTINGS)
    # The dataset itself needs its sources no more, and other trajectories can be added.
    assert len(make_dataset([simulated(tmp_path / "b", ("CH4",))], out, SETTINGS).shards) == 6


def test_plain_files(tmp_path: Path) -> None:
    """Names and steps as other tools may leave them: frames, but no windows."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("first", "second.run"):
        bare = dataclasses.replace(dynamics("H2O", 5), metadata={"method": "DFT"})
        write_npz(folder / f"{name}.npz", bare)
    dataset = make_dataset([folder], tmp_path / "out", SETTINGS)
    assert [(s.name, s.molecule) for s in dataset.shards] == [
        ("first", "first"), ("second.run", "second.run")
    ]  # fmt: skip
    assert dataset.timestep_fs is None
    with pytest.raises(ValueError, match="has no training windows of 2 base steps that move"):
        dataset.scales("verlet", [2])


def test_nothing_to_use(tmp_path: Path, source: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no trajectories .* in .*; run kstep simulate"):
        make_dataset([tmp_path], tmp_path / "out", SETTINGS)
    empty = dataclasses.replace(dynamics("H2O", 4), has_label=np.zeros(4, dtype=bool))
    write_npz(source / "production" / "CH4.300K.0.0.npz", empty)
    with pytest.raises(ValueError, match=r"trajectory CH4.300K.0\) has no labelled frame"):
        make_dataset([source], tmp_path / "out", SETTINGS)
    with pytest.raises(FileNotFoundError, match=r"no dataset.json in"):
        open_dataset(tmp_path)


def changed(trajectory: Trajectory, **metadata: Any) -> Trajectory:
    return dataclasses.replace(trajectory, metadata={**trajectory.metadata, **metadata})


@pytest.mark.parametrize(
    ("name", "trajectory", "message"),
    [
        ("H2O.300K.0.2", dynamics("H2O", 8, method="DFT"), "has method 'DFT', but"),
        ("PH3.300K.0.0", dynamics("PH3", 8, method="DFT"), "has method 'DFT', but trajectory"),
        ("PH3.300K.0.0", dynamics("PH3", 8, constraints="HBonds"), "has constraints 'HBonds'"),
        ("H2O.300K.0.2", dynamics("H2O", 8, timestep_fs=1.0), "frames every 0.5 fs, but"),
        ("PH3.300K.0.0", dynamics("PH3", 8, timestep_fs=1.0), "has timestep_fs 1.0, but"),
        ("H2O.300K.0.2", dynamics("SH2", 8, name="H2O"), r"has numbers \[16, 1, 1\], but"),
        ("H2O.300K.7.0", dynamics("SH2", 8, name="H2O"), r"H2O.300K.7 has numbers \[16, 1, 1\]"),
        ("H2O.300K.7.0", dynamics("H2O", 8, charge=1), "H2O.300K.7 has charge 1, but"),
        ("H2O.300K.7.0", dynamics("H2O", 8, multiplicity=3), "has multiplicity 3, but"),
        # Another file of the same trajectory.
        ("H2O.300K.0.9", dynamics("H2O", 8, charge=1), "0.9.npz has charge 1, but"),
        (
            "H2O.300K.7.0",
            dataclasses.replace(dynamics("H2O", 8), masses=np.array([16.0, 2.0, 2.0])),
            r"H2O.300K.7 has masses \[16.0, 2.0, 2.0\], but",
        ),
        (
            "H2O.300K.7.0",
            dataclasses.replace(dynamics("H2O", 8), metadata={"name": "H2O"}),
            r"H2O.300K.7.0.npz does not say by which method",
        ),
    ],
)
def test_trajectories_that_disagree(
    source: Path, tmp_path: Path, name: str, trajectory: Trajectory, message: str
) -> None:
    path = source / "production" / f"{name}.npz"
    write_npz(path, trajectory)
    with pytest.raises(ValueError, match=message):
        make_dataset([source], tmp_path / "out", SETTINGS)
    path.unlink()  # without it all is well
    assert len(make_dataset([source], tmp_path / "out", SETTINGS).shards) == 4


def test_two_names_of_one_molecule(source: Path, tmp_path: Path) -> None:
    water = dynamics("H2O", 8, 3, name="water")  # of the SMILES of the other one
    write_npz(source / "production" / "water.300K.0.0.npz", water)
    out = tmp_path / "out"
    for split in ("molecule", "trajectory"):
        settings = dataclasses.replace(SETTINGS, split=split, validation=["water"])
        with pytest.raises(ValueError, match=r"\['H2O', 'water'\] are one molecule \(H2O\), but"):
            make_dataset([source], out, settings)
    both = dataclasses.replace(SETTINGS, validation=["water", "H2O"])
    more = simulated(tmp_path / "more", ("CH3OH",))
    parts = {s.molecule: s.part for s in make_dataset([source, more], out, both).shards}
    assert parts == {"CH3OH": "train", "NH3": "train", "H2O": "validation", "water": "validation"}


def test_other_settings(source: Path, tmp_path: Path) -> None:
    make_dataset([source], tmp_path / "out", SETTINGS)
    other = dataclasses.replace(SETTINGS, k=[3])
    with pytest.raises(ValueError, match=r"other settings: k was \[.*\], now \[3\]\."):
        make_dataset([source], tmp_path / "out", other)


def test_another_format(source: Path, tmp_path: Path) -> None:
    make_dataset([source], tmp_path / "out", SETTINGS)
    path = tmp_path / "out" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(ValueError, match="has format 9; this version reads 1"):
        open_dataset(tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": []}, r"k is \[\], expected different whole numbers"),
        ({"k": [4, 0]}, r"k is \[4, 0\]"),
        ({"k": [4, 4]}, r"k is \[4, 4\]"),
        ({"every": 0}, "every is 0, expected at least 1"),
        ({"split": "frame"}, "split is 'frame', expected 'molecule' or 'trajectory'"),
        ({"test_fraction": -0.1}, r"are \(0.1, -0.1\), expected at least 0"),
        ({"validation_fraction": 0.95}, r"are \(0.95, 0.1\), .* together less than 1"),
        ({"test_fraction": float("nan")}, "together less than 1"),
    ],
)
def test_settings_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetSettings(**values)


def test_a_dataset_of_an_earlier_version_is_read_and_grows(source: Path, tmp_path: Path) -> None:
    """Its settings called k strides."""
    made = make_dataset([source], tmp_path / "out", SETTINGS)
    path = tmp_path / "out" / "dataset.json"
    content = json.loads(path.read_text())
    content["settings"]["strides"] = content["settings"].pop("k")
    path.write_text(json.dumps(content))
    assert open_dataset(tmp_path / "out") == made
    assert make_dataset([source], tmp_path / "out", SETTINGS) == made
    with pytest.raises(ValueError, match=r"other settings: k was \[2\], now \[3\]\."):
        make_dataset([source], tmp_path / "out", dataclasses.replace(SETTINGS, k=[3]))


def test_on_the_console(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["k=[2,3]", "validation_fraction=0", "test_fraction=0", "every=2"]
    dataset = run_dataset([source], overrides, tmp_path / "out")
    out = capsys.readouterr().out
    # Of eight frames: starts 0, 2, 4 with stride 2; 0, 2, 4 with stride 3; eight segments.
    assert "train: 2 molecules, 4 trajectories, 64 frames; windows: 24 of 2 steps, 24 of 3" in out
    assert "test: 0 molecules" in out
    assert dataset.content_hash in out
    assert "intact" not in out
    assert run_dataset([], [], tmp_path / "out", check=True) == dataset
    assert "4 shards are intact" in capsys.readouterr().out
    path = dataset.path(dataset.shards[0])
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ValueError, match="has the SHA-256"):
        run_dataset([], [], tmp_path / "out", check=True)
    with pytest.raises(ValueError, match="unknown key 'stride'; did you mean 'k'"):
        run_dataset([source], ["stride=[2]"], tmp_path / "out")
