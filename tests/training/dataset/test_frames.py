"""Frames for force matching against the trajectories they come from."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.dataset.shard_reader import MAX_OPEN, ShardReader
from kstep_training.trajectory import Trajectory, write_npz
from tests.training.trajectories import dynamics

SETTINGS = DatasetSettings(k=[2], split="trajectory", validation_fraction=0.0, test_fraction=0.0)
PADDING = [4, 6]
LENGTHS = {"H2O": 7, "NH3": 6, "CH3OH": 5}


def frames_of(formula: str) -> Trajectory:
    return dynamics(formula, LENGTHS[formula])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames")
    (root / "in").mkdir()
    for formula in LENGTHS:
        write_npz(root / "in" / f"{formula}.npz", frames_of(formula))
    make_dataset([root / "in"], root / "out", SETTINGS)
    return root / "out"


def test_groups_by_padded_size(folder: Path) -> None:
    data = FrameDataset(folder, "train", PADDING)
    assert len(data) == 18
    assert data.offsets.tolist() == [0, 13, 18]  # water and ammonia, methanol
    assert data[[0, 12]].positions.shape == (2, 4, 3)
    assert data[[13]].positions.shape == (1, 6, 3)


def test_padding(folder: Path) -> None:
    data = FrameDataset(folder, "train", PADDING, shifts=[-10.0, -60.0, -70.0, -110.0])
    batch = data[[2, 7]]  # a water and the first ammonia
    assert batch.atom_mask.tolist() == [[True, True, True, False], [True] * 4]
    assert batch.species.tolist() == [[3, 0, 0, 0], [2, 0, 0, 0]]  # O H H padding, N H H H
    for row, formula, frame, shift in ((0, "H2O", 2, -130.0), (1, "NH3", 0, -100.0)):
        t = frames_of(formula)
        n = len(t.numbers)
        x = t.positions[frame] - np.average(t.positions[frame], axis=0, weights=t.masses)
        np.testing.assert_allclose(batch.positions[row, :n], x, atol=1e-6)
        np.testing.assert_allclose(batch.forces[row, :n], t.forces[frame], atol=1e-5)
        # The shifts of one oxygen and two hydrogens: -110 - 2 * 10.
        assert float(batch.energies[row]) == pytest.approx(t.energies[frame] - shift, abs=1e-4)
    assert not batch.positions[0, 3].any()
    assert not batch.forces[0, 3].any()
    assert {batch.positions.dtype, batch.forces.dtype, batch.energies.dtype} == {torch.float32}


def test_elements_and_shifts_of_the_dataset(folder: Path) -> None:
    data = FrameDataset(folder, "train", PADDING)
    assert data.file.elements == [1, 6, 7, 8]
    # Least squares over three molecules and four elements meet the mean energy of each.
    mean = data[list(range(7))].energies.mean()
    assert float(mean) == pytest.approx(0.0, abs=1e-5)
    wider = FrameDataset(folder, "train", PADDING, elements=[1, 6, 7, 8, 9], shifts=[0.0] * 5)
    assert float(wider[[0]].energies) == pytest.approx(frames_of("H2O").energies[0], rel=1e-6)


def test_graph_pairs_only_real_atoms(folder: Path) -> None:
    graph = FrameDataset(folder, "train", PADDING)[[0, 7]].graph
    assert graph.pair_mask[0].tolist() == [
        [False, True, True, False],
        [True, False, True, False],
        [True, True, False, False],
        [False] * 4,
    ]
    assert graph.pair_mask[1].sum() == 12


def test_to_moves_every_tensor(folder: Path) -> None:
    moved = FrameDataset(folder, "train", PADDING)[[0]].to("meta")
    tensors = [tensor for tensor in vars(moved).values() if tensor is not None]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_refusals(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"CH3OH has the atomic numbers \[6\], which are not"):
        FrameDataset(folder, "train", PADDING, elements=[1, 7, 8], shifts=[0.0] * 3)
    with pytest.raises(ValueError, match=r"a molecule of 6 atoms exceeds the padding .*\[3, 4\]"):
        FrameDataset(folder, "train", [3, 4])
    with pytest.raises(ValueError, match=r"the part 'test' of .* has no frame"):
        FrameDataset(folder, "test", PADDING)
    with pytest.raises(ValueError, match="2 shifts are given for 4 elements"):
        FrameDataset(folder, "train", PADDING, shifts=[0.0, 0.0])
    with pytest.raises(ValueError, match="part is 'all'"):
        FrameDataset(folder, "all", PADDING)


def test_a_shard_of_another_shape(folder: Path, tmp_path: Path) -> None:
    """Same size in bytes, other content."""
    (tmp_path / "in").mkdir()
    write_npz(tmp_path / "in" / "water.npz", frames_of("H2O"))
    dataset = make_dataset([tmp_path / "in"], tmp_path / "out", SETTINGS)
    path = dataset.path(dataset.shards[0])
    rows = np.load(path)
    with open(path, "r+b") as handle:
        np.lib.format.write_array(handle, rows.view("<f8"))
        handle.truncate(dataset.shards[0].bytes)
    with pytest.raises(ValueError, match="does not hold 7 frames of 3 atoms"):
        FrameDataset(tmp_path / "out", "train", PADDING)[[0]]


def test_only_so_many_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OPEN < 1024  # the usual limit of open files
    monkeypatch.setattr("kstep_training.dataset.shard_reader.MAX_OPEN", 2)
    (tmp_path / "in").mkdir()
    for number in range(4):
        write_npz(tmp_path / "in" / f"{number}.npz", dynamics("H2O", 3, seed=number))
    dataset = make_dataset([tmp_path / "in"], tmp_path / "out", SETTINGS)
    reader = ShardReader(dataset)
    shards = np.array([3, 0, 1, 2, 0, 3])
    x, _, _, energies = reader.padded(shards, np.array([0, 1, 2, 0, 2, 1]), 4)
    for row, (shard, frame) in enumerate(zip(shards, [0, 1, 2, 0, 2, 1], strict=True)):
        t = dynamics("H2O", 3, seed=int(shard))
        assert energies[row] == pytest.approx(t.energies[frame], rel=1e-12)
    assert x.shape == (6, 4, 3)
    assert len(reader._open) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA is Linux's")
def test_memory_is_bounded(tmp_path: Path) -> None:
    """Frames of 400 MB are read with 48 MB of memory to spare; loading them is not possible."""
    (tmp_path / "in").mkdir()
    write_npz(tmp_path / "in" / "water.npz", dynamics("H2O", 4))
    make_dataset([tmp_path / "in"], tmp_path / "out", SETTINGS)
    script = """
        import json, resource, sys
        from pathlib import Path
        import numpy as np
        from kstep_training.dataset.batches import BatchSampler
        from kstep_training.dataset.frames import FrameDataset
        from kstep_training.dataset.windows import WindowDataset

        folder = Path(sys.argv[1])
        content = json.loads((folder / "dataset.json").read_text())
        shard = folder / "shards" / "water.npy"
        rows = np.load(shard)
        count = 400_000_000 // rows.itemsize
        # A file with holes: it takes no space on the disk, and reads as zeros.
        np.lib.format.open_memmap(shard, "w+", rows.dtype, (count,))[:4] = rows
        content["shards"][0] |= {
            "frames": count, "segments": [[0, count]], "bytes": shard.stat().st_size
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        FrameDataset(folder, "train", [4])[[0, 1]]
        WindowDataset(folder, "train", "verlet", [2], [4])[[0, 1]]

        status = Path("/proc/self/status").read_text()
        used = 1024 * int(status.split("VmData:")[1].split()[0])
        resource.setrlimit(resource.RLIMIT_DATA, (used + 48_000_000,) * 2)
        for data in (
            FrameDataset(folder, "train", [4]),
            WindowDataset(folder, "train", "verlet", [2], [4]),
        ):
            rng = np.random.default_rng(0)
            for _ in range(100):
                batch = data[rng.integers(0, len(data), 256)]
            assert len(batch.positions) == 256
        try:
            np.load(shard)
        except MemoryError:
            print("bounded")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["bounded"]
