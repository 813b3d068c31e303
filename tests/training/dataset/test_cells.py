"""Datasets of periodic trajectories: what is kept, batches against the potential, refusals."""

from __future__ import annotations

import dataclasses
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.potentials.network import NetworkPotential
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset, run_dataset
from kstep_training.dataset.segments import labelled_frames
from kstep_training.dataset.statistics import closest_in_cells
from kstep_training.dataset.windows import WindowDataset
from kstep_training.trajectory import read_npz, write_npz
from tests.training.trajectories import dynamics, shaken

SETTINGS = DatasetSettings(k=[2], split="trajectory", validation_fraction=0.0, test_fraction=0.0)
SLAB = (True, True, False)
PADDING = [3, 6, 9]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Water; copper in a cell that changes and is shorter than the cutoff; a slab of four atoms."""
    root = tmp_path_factory.mktemp("cells")
    write_npz(root / "H2O.npz", dynamics("H2O", 5))
    write_npz(root / "copper.npz", shaken("copper", bulk("Cu") * (3, 2, 1), 4, scale=0.03))
    slab = bulk("Cu", cubic=True)
    slab.pbc = SLAB
    write_npz(root / "slab.npz", shaken("slab", slab, 3))
    return root


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    make_dataset([source], out, SETTINGS)
    return out


@pytest.mark.parametrize("name", ["copper", "slab"])
def test_atoms_are_put_into_the_cell_of_their_frame(source: Path, name: str) -> None:
    trajectory = read_npz(source / f"{name}.npz")
    kept = labelled_frames(trajectory, source)
    assert (kept.segments, kept.timestep_fs) == ([], None)
    np.testing.assert_array_equal(kept.rows["cell"], trajectory.cells)
    inverse = np.linalg.inv(trajectory.cells)
    fractions = kept.rows["positions"] @ inverse
    assert (np.abs(fractions[..., trajectory.pbc]) < 0.5 + 1e-12).all()
    moved = (kept.rows["positions"] - trajectory.positions) @ inverse
    moved -= moved[:, :1]
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)
    assert not moved[..., ~trajectory.pbc].round(9).any()
    assert moved.any()


def test_molecules_and_cells_in_one_dataset(folder: Path) -> None:
    data = open_dataset(folder)
    assert data.cells == ["copper", "slab"]
    assert [m.pbc for m in data.molecules] == [(False,) * 3, (True,) * 3, SLAB]
    assert [shard.segments for shard in data.shards] == [((0, 5),), (), ()]
    assert data.timestep_fs == 0.5  # of water alone
    assert data.elements == [1, 8, 29]
    frames = FrameDataset(folder, "train", PADDING, cutoff=5.0)
    assert frames.offsets.tolist() == [0, 5, 12]  # of cells, both are padded to six
    assert frames[[0]].neighbors is None
    with pytest.raises(ValueError, match="items in periodic cells and others in one batch"):
        FrameDataset(folder, "train", [6], cutoff=5.0)[[4, 5]]
    with pytest.raises(ValueError, match=r"has frames in periodic cells, .* give cutoff="):
        FrameDataset(folder, "train", PADDING)


def test_batches_are_what_the_potential_has_in_the_cells(source: Path, folder: Path) -> None:
    torch.manual_seed(0)
    elements, shifts = [1, 8, 29], [-1.0, 2.0, 0.5]
    network = EnergyNetwork(elements, shifts=shifts, channels=8, layers=2, radial=8).double()
    header = ModelHeader("tiny", network.config, "EMT", periodic=True)
    potential = NetworkPotential(network, header, device="cpu", dtype=torch.float64)
    frames = FrameDataset(folder, "train", PADDING, elements, shifts, network.cutoff)
    batch = frames[range(5, 12)]  # both kinds of cells, of four and six atoms
    assert batch.atom_mask.sum(1).tolist() == [6] * 4 + [4] * 3
    assert batch.neighbors is not None
    assert batch.neighbors.shape[2] % 8 == 0
    energy, forces = energy_and_forces(network, None, batch.positions.double(), batch.graph)
    row = 0
    for name in ("copper", "slab"):
        trajectory = read_npz(source / f"{name}.npz")
        n = len(trajectory.numbers)
        for number, atoms in enumerate(trajectory_atoms(source / f"{name}.npz")):
            state = state_from_atoms(atoms)
            known, _ = potential.bind(state)(state.positions, None)
            assert float(energy[row].sum()) + 0.5 * n == pytest.approx(
                float(known.energy), abs=1e-5
            )
            torch.testing.assert_close(forces[row, :n], known.forces, rtol=1e-4, atol=1e-5)
            label = float(batch.energies[row]) + 0.5 * n
            assert label == pytest.approx(trajectory.energies[number], rel=1e-6)
            row += 1
    assert forces.abs().max() > 0.1
    assert not forces[4:, 4:].any()


def trajectory_atoms(path: Path) -> list[Atoms]:
    """Frames as ASE has them, where they were before they were put into the cell."""
    trajectory = read_npz(path)
    return [
        Atoms(trajectory.numbers, positions=x, cell=cell, pbc=trajectory.pbc)
        for x, cell in zip(trajectory.positions, trajectory.cells, strict=True)
    ]


def test_closest_among_images() -> None:
    """By brute force; an atom alone is closest to its own image."""
    atoms = bulk("CuAu", "cesiumchloride", a=2.9)
    trajectory = shaken("alloy", atoms, 3)
    rows = labelled_frames(trajectory, Path("alloy.npz")).rows
    found = closest_in_cells(trajectory.numbers, rows, [True] * 3)
    images = np.array(list(product((-2, -1, 0, 1, 2), repeat=3))) @ atoms.cell.array
    expected = {}
    for i, j in product(range(2), repeat=2):
        lengths = np.linalg.norm(
            (rows["positions"][:, j] - rows["positions"][:, i])[:, None] + images, axis=2
        )
        pair = ",".join(map(str, sorted((29 + 50 * i, 29 + 50 * j))))
        expected[pair] = min(lengths[lengths > 1e-9].min(), expected.get(pair, np.inf))
    assert found == pytest.approx(expected)
    assert found["29,29"] == pytest.approx(2.9)


def test_no_windows_in_cells(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"in periodic cells \(copper, slab\), which have no wind"):
        WindowDataset(folder, "train", "verlet", [2], PADDING)


def test_on_the_console(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["k=[2]", "split=trajectory", "validation_fraction=0", "test_fraction=0"]
    run_dataset([source], words, tmp_path, check=True)
    out = capsys.readouterr().out
    assert "train: 3 molecules, 3 trajectories, 12 frames; windows: 3 of 2 steps" in out
    assert "No windows in periodic cells (copper, slab): a direct jump learns the motion of" in out


def test_a_cell_without_volume(source: Path) -> None:
    flat = dataclasses.replace(
        read_npz(source / "slab.npz"), cell=np.array([[3.0, 0, 0], [6.0, 0, 0], [0, 0, 9.0]])
    )
    with pytest.raises(ValueError, match=r"slab.npz has a cell without volume: \[\[3.0, 0.0"):
        labelled_frames(flat, Path("slab.npz"))


def test_periodic_directions_are_part_of_what_a_molecule_is(source: Path, tmp_path: Path) -> None:
    slab = read_npz(source / "slab.npz")
    whole = dataclasses.replace(slab, pbc=np.ones(3, dtype=bool))
    hashes = set()
    for number, trajectory in enumerate((slab, whole)):
        (tmp_path / str(number)).mkdir()
        write_npz(tmp_path / str(number) / "slab.npz", trajectory)
        made = make_dataset([tmp_path / str(number)], tmp_path / f"out{number}", SETTINGS)
        hashes.add(made.content_hash)
    write_npz(tmp_path / "1" / "more.npz", whole)
    write_npz(tmp_path / "1" / "slab.npz", slab)
    with pytest.raises(ValueError, match=r"has pbc \[True, True, False\], but .* \[True, True, Tr"):
        make_dataset([tmp_path / "1"], tmp_path / "out", SETTINGS)
    assert len(hashes) == 2


def test_a_dataset_from_before_cells_is_read_and_grows(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_npz(tmp_path / "in" / "NH3.npz", dynamics("NH3", 5))
    made = make_dataset([tmp_path / "in"], tmp_path / "out", SETTINGS)
    path, shard = tmp_path / "out" / "dataset.json", tmp_path / "out" / "shards" / "NH3.json"
    content, record = json.loads(path.read_text()), json.loads(shard.read_text())
    content["format"] = 1
    del content["molecules"][0]["pbc"], record["pbc"]
    path.write_text(json.dumps(content))
    shard.write_text(json.dumps(record))
    assert open_dataset(tmp_path / "out") == made
    assert make_dataset([tmp_path / "in"], tmp_path / "out", SETTINGS) == made
    grown = make_dataset([source], tmp_path / "out", SETTINGS)
    assert grown.cells == ["copper", "slab"]
    assert json.loads(path.read_text())["format"] == 2
