"""Windows against the trajectories they were cut from."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from kstep_integrators import units
from kstep_integrators.jumps.baseline import landing
from kstep_training.dataset.batches import BatchSampler
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.dataset.windows import WindowDataset
from kstep_training.trajectory import Trajectory, write_npz
from tests.training.trajectories import dynamics

PADDING = [4, 6]


def centred(t: Trajectory, values: np.ndarray) -> np.ndarray:
    """Without the mass-weighted mean, worked out with numpy.average."""
    return values - np.average(values, axis=-2, weights=t.masses)[..., None, :]


@pytest.fixture(scope="module")
def water() -> Trajectory:
    return dynamics("H2O", 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, water: Trajectory) -> dict[str, Path]:
    """Datasets with and without twins, of one water and one methanol of two segments."""
    root = tmp_path_factory.mktemp("windows")
    for part, trajectory in (
        ("H2O.300K.0.0", water),
        ("CH3OH.300K.0.0", dynamics("CH3OH", 9, seed=1)),
        ("CH3OH.300K.0.1", dynamics("CH3OH", 7, seed=2)),
    ):
        (root / "in" / "production").mkdir(parents=True, exist_ok=True)
        write_npz(root / "in" / "production" / f"{part}.npz", trajectory)
    folders = {}
    for name, twins in (("plain", False), ("twins", True)):
        settings = DatasetSettings(
            k=[2, 5], every=2, twins=twins, validation_fraction=0.0, test_fraction=0.0
        )
        folders[name] = root / name
        make_dataset([root / "in"], folders[name], settings)
    return folders


def test_numbers_and_groups(made: dict[str, Path]) -> None:
    data = WindowDataset(made["plain"], "train", "verlet", [2, 5], PADDING)
    # Water, last frame 19: 9 starts 0, ..., 16 with stride 2, 8 starts 0, ..., 14 with stride 5.
    # Methanol: 0, ..., 6 and 0, 2 of nine frames; 0, 2, 4 and 0 of seven.
    assert data.offsets.tolist() == [0, 17, 27]
    assert len(data) == 27
    assert len(WindowDataset(made["twins"], "train", "verlet", [2, 5], PADDING)) == 54
    assert len(WindowDataset(made["plain"], "train", "verlet", [5], PADDING)) == 11
    assert all(data[batch].k_index.shape == (4,) for batch in BatchSampler(data.offsets, 4, 0))


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_a_window_is_what_the_trajectory_did(
    made: dict[str, Path], water: Trajectory, baseline: str
) -> None:
    """The third window of stride 5 of the water starts at frame 4 and ends at frame 9."""
    data = WindowDataset(made["plain"], "train", baseline, [2, 5], PADDING)
    batch = data[[9 + 2]]
    assert batch.k_index.tolist() == [1]
    assert batch.species.tolist() == [[2, 0, 0, 0]]  # O H H padding, of H C O
    assert batch.atom_mask.tolist() == [[True, True, True, False]]
    assert data.file.molecules[int(batch.molecule)].name == "H2O"
    h, mass = 5 * 0.5 * units.FS, water.masses[:, None]
    start, end = 4, 9
    x, v, f = (getattr(water, key) for key in ("positions", "velocities", "forces"))
    for key, values, frame in (
        ("positions", x, start), ("velocities", v, start), ("end_positions", x, end),
        ("end_velocities", v, end),
    ):  # fmt: skip
        np.testing.assert_allclose(
            getattr(batch, key)[0, :3], centred(water, values[frame]), atol=1e-6
        )
    np.testing.assert_allclose(batch.forces[0, :3], f[start], atol=1e-5)
    np.testing.assert_allclose(batch.end_forces[0, :3], f[end], atol=1e-5)
    if baseline == "verlet":
        dx = x[end] - (x[start] + h * v[start] + h**2 * f[start] / (2 * mass))
        dv = v[end] - (v[start] + h * (f[start] + f[end]) / (2 * mass))
    else:
        mean = np.average(v[start], axis=0, weights=water.masses)
        dx, dv = x[end] - (x[start] + h * mean), v[end] - v[start]
    np.testing.assert_allclose(batch.dx[0, :3], centred(water, dx), atol=1e-6)
    np.testing.assert_allclose(batch.dv[0, :3], centred(water, dv), atol=1e-6)
    assert float(batch.dx.abs().max()) > 1e-3
    for tensor in vars(batch).values():
        if tensor.ndim == 3:
            assert tensor.dtype == torch.float32
            assert not tensor[0, 3].any()
    torch.testing.assert_close(batch.landing(batch.dx), batch.end_positions)
    moved = batch.landing(batch.dx + 0.5)
    torch.testing.assert_close(moved, batch.end_positions + 0.5)


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_a_jump_with_these_increments_lands_at_the_end(
    made: dict[str, Path], baseline: str
) -> None:
    data = WindowDataset(made["twins"], "train", baseline, [2, 5], PADDING)
    b = data[list(range(0, 34, 3))]  # the water, both strides, both directions
    assert set(b.k_index.tolist()) == {0, 1}
    h = torch.tensor([2.0, 5.0])[b.k_index][:, None, None] * 0.5 * units.FS
    mass = torch.tensor([*data.file.molecule("H2O").masses, 0.0])[:, None]
    x, v = landing(baseline, b.positions, b.velocities, b.forces, b.dx, b.dv, b.end_forces, mass, h)
    torch.testing.assert_close(x, b.end_positions, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(v, b.end_velocities, atol=1e-5, rtol=0.0)


def test_windows_stay_in_their_segment(made: dict[str, Path]) -> None:
    """Every window of the methanol solves its equations of motion; one across would not."""
    data = WindowDataset(made["plain"], "train", "verlet", [2, 5], PADDING)
    # One Verlet step of 1 or 2.5 fs is close to the truth; another segment is 0.1 angstrom away.
    assert float(data[list(range(17, 27))].dx.abs().max()) < 0.05


def test_twins_run_backwards(made: dict[str, Path], water: Trajectory) -> None:
    data = WindowDataset(made["twins"], "train", "verlet", [2], PADDING)
    forward, back = data[[3]], data[[9 + 3]]
    torch.testing.assert_close(back.positions, forward.end_positions)
    torch.testing.assert_close(back.velocities, -forward.end_velocities)
    torch.testing.assert_close(back.forces, forward.end_forces)
    torch.testing.assert_close(back.end_positions, forward.positions)
    torch.testing.assert_close(back.end_velocities, -forward.velocities)
    torch.testing.assert_close(back.dv, forward.dv)  # -v - (-v') - kick = (v' - v) - kick
    h, mass = 2 * 0.5 * units.FS, water.masses[:, None]
    x, v, f = (getattr(water, key) for key in ("positions", "velocities", "forces"))
    dx = x[6] - (x[8] - h * v[8] + h**2 * f[8] / (2 * mass))
    np.testing.assert_allclose(back.dx[0, :3], centred(water, dx), atol=1e-6)


def test_statistics_are_those_of_the_windows(made: dict[str, Path]) -> None:
    for folder in made.values():
        for baseline in ("verlet", "plain"):
            data = WindowDataset(folder, "train", baseline, [2, 5], PADDING)
            squares = np.zeros((2, 3, 2))
            counts = np.zeros((2, 3, 1))
            for window in range(len(data)):
                batch = data[[window]]
                k, real = int(batch.k_index), batch.atom_mask[0]
                for z, dx, dv in zip(
                    batch.species[0, real], batch.dx[0, real], batch.dv[0, real], strict=True
                ):
                    squares[k, z] += float(dx.square().sum()), float(dv.square().sum())
                    counts[k, z] += 3
            expected = np.sqrt(squares / counts)
            np.testing.assert_allclose(data.file.scales(baseline, [2, 5]), expected, rtol=1e-5)


def test_in_worker_processes(made: dict[str, Path]) -> None:
    """Pickled, a dataset holds no frames and reads the same."""
    data = WindowDataset(made["plain"], "train", "verlet", [2, 5], PADDING)
    size = len(pickle.dumps(data))
    first = data[[0, 1]]
    assert len(pickle.dumps(data)) == size
    again = copy.deepcopy(data)[[0, 1]]  # by the same protocol
    for key, tensor in vars(first).items():
        assert torch.equal(tensor, getattr(again, key))


def test_wrong_requests(made: dict[str, Path]) -> None:
    folder = made["plain"]
    with pytest.raises(ValueError, match="unknown baseline 'euler'"):
        WindowDataset(folder, "train", "euler", [2], PADDING)
    with pytest.raises(ValueError, match=r"k is \[3\], but .* was made with \[2, 5\]"):
        WindowDataset(folder, "train", "verlet", [3], PADDING)
    with pytest.raises(ValueError, match="part is 'training', expected one of"):
        WindowDataset(folder, "training", "verlet", [2], PADDING)
    with pytest.raises(ValueError, match=r"the part 'test' of .* has no window of 2 steps"):
        WindowDataset(folder, "test", "verlet", [2], PADDING)
    with pytest.raises(ValueError, match="a molecule of 6 atoms exceeds the padding sizes"):
        WindowDataset(folder, "train", "verlet", [2], [5])
    with pytest.raises(ValueError, match=r"CH3OH has the atomic numbers \[6\], which are not"):
        WindowDataset(folder, "train", "verlet", [2], PADDING, elements=[1, 8])
    data = WindowDataset(folder, "train", "verlet", [2, 5], PADDING)
    with pytest.raises(IndexError, match=r"items \[27\], expected some of 0 to 26"):
        data[[27]]
    with pytest.raises(ValueError, match=r"different padded sizes \(4 and 6 atoms\)"):
        data[[16, 17]]


def test_elements_of_a_larger_network(made: dict[str, Path]) -> None:
    data = WindowDataset(made["plain"], "train", "verlet", [2], PADDING, elements=[8, 7, 6, 1])
    assert data[[0]].species.tolist() == [[0, 3, 3, 0]]


def test_to_moves_every_tensor(made: dict[str, Path]) -> None:
    moved = WindowDataset(made["plain"], "train", "verlet", [2], PADDING)[[0]].to("meta")
    assert {tensor.device.type for tensor in vars(moved).values()} == {"meta"}
    assert dataclasses.is_dataclass(moved)
    assert moved.graph.pair_mask.shape == (1, 4, 4)
