"""Padding, batches, element shifts and the identity of a data set."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kstep_training.dataset import (
    BatchSampler,
    FrameDataset,
    content_hash,
    element_shifts,
    load_folder,
)
from kstep_training.trajectory import Trajectory

ELEMENTS = [1, 6, 7, 8]
SHIFTS = [-10.0, -60.0, -70.0, -110.0]
PADDING = [4, 6]


@pytest.fixture(scope="module")
def trajectories(springs: Any) -> dict[str, Trajectory]:
    return {"H2O": springs("H2O", 7), "NH3": springs("NH3", 6), "CH3OH": springs("CH3OH", 5)}


@pytest.fixture(scope="module")
def data(trajectories: dict[str, Trajectory]) -> FrameDataset:
    return FrameDataset(list(trajectories.values()), ELEMENTS, SHIFTS, PADDING)


def test_groups_by_padded_size(data: FrameDataset) -> None:
    assert len(data) == 18
    assert data.offsets.tolist() == [0, 13, 18]  # water and ammonia, methanol
    assert data[[0, 12]].positions.shape == (2, 4, 3)
    assert data[[13]].positions.shape == (1, 6, 3)


def test_padding(data: FrameDataset, trajectories: dict[str, Trajectory]) -> None:
    batch, water = data[[2, 7]], trajectories["H2O"]  # a water and the first ammonia
    assert batch.atom_mask.tolist() == [[True, True, True, False], [True] * 4]
    assert batch.species.tolist() == [[3, 0, 0, 0], [2, 0, 0, 0]]  # O H H padding, N H H H
    x = water.positions[2]
    np.testing.assert_allclose(batch.positions[0, :3], x - x.mean(0), atol=1e-6)
    np.testing.assert_allclose(batch.forces[0, :3], water.forces[2], atol=1e-5)
    assert not batch.positions[0, 3].any()
    assert not batch.forces[0, 3].any()
    # The shifts of one oxygen and two hydrogens: -110 - 2 * 10.
    assert float(batch.energies[0]) == pytest.approx(water.energies[2] + 130.0, abs=1e-4)
    assert {batch.positions.dtype, batch.forces.dtype, batch.energies.dtype} == {torch.float32}


def test_graph_pairs_only_real_atoms(data: FrameDataset) -> None:
    graph = data[[0, 7]].graph
    assert graph.pair_mask[0].tolist() == [
        [False, True, True, False],
        [True, False, True, False],
        [True, True, False, False],
        [False] * 4,
    ]
    assert graph.pair_mask[1].sum() == 12


def test_to_moves_every_tensor(data: FrameDataset) -> None:
    moved = data[[0]].to("meta")
    assert {tensor.device.type for tensor in vars(moved).values()} == {"meta"}


def test_unlabelled_frames_are_left_out(springs: Any) -> None:
    water = springs("H2O", 4)
    partly = dataclasses.replace(water, has_label=np.array([True, False, True, False]))
    data = FrameDataset([partly], ELEMENTS, SHIFTS, PADDING)
    assert len(data) == 2
    np.testing.assert_allclose(data[[0, 1]].forces[:, :3], water.forces[[0, 2]], atol=1e-5)


def test_unknown_element(trajectories: dict[str, Trajectory]) -> None:
    with pytest.raises(ValueError, match=r"atomic numbers \[7\] are not among"):
        FrameDataset(list(trajectories.values()), [1, 6, 8], [0.0] * 3, PADDING)


def test_too_large_molecule(trajectories: dict[str, Trajectory]) -> None:
    with pytest.raises(ValueError, match=r"a molecule of 6 atoms exceeds the padding .*\[3, 4\]"):
        FrameDataset(list(trajectories.values()), ELEMENTS, SHIFTS, [3, 4])


OFFSETS = np.array([0, 13, 18])


def epoch_of(sampler: BatchSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def group_of(frame: int) -> int:
    return int(frame >= OFFSETS[1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches(shuffle: bool) -> None:
    sampler = BatchSampler(OFFSETS, batch_size=4, seed=3, shuffle=shuffle)
    for epoch in range(3):
        batches = epoch_of(sampler, epoch)
        # 13 frames make four batches of four, 5 make two.
        assert len(batches) == len(sampler) == 6
        assert all(len(batch) == 4 for batch in batches)
        assert all(len({group_of(frame) for frame in batch}) == 1 for batch in batches)
        # Once each; three frames of either group a second time to fill up its last batch.
        counts = Counter(frame for batch in batches for frame in batch)
        assert set(counts) == set(range(18))
        assert set(counts.values()) == {1, 2}
        twice = [group_of(frame) for frame, count in counts.items() if count == 2]
        assert sorted(twice) == [0, 0, 0, 1, 1, 1]


def test_a_group_smaller_than_half_a_batch() -> None:
    batches = list(BatchSampler(np.array([0, 3]), batch_size=8, seed=0))
    assert len(batches) == 1
    assert sorted(Counter(batches[0]).values()) == [2, 3, 3]


def test_shuffle_depends_on_seed_and_epoch_only() -> None:
    one, same, other = (BatchSampler(OFFSETS, 4, seed) for seed in (3, 3, 4))
    first = epoch_of(one, 0)
    assert epoch_of(one, 1) != first
    assert epoch_of(one, 0) == first
    assert epoch_of(same, 0) == first
    assert epoch_of(other, 0) != first
    # Not only the order of the batches: also who is with whom.
    assert {frozenset(batch) for batch in epoch_of(one, 1)} != {frozenset(b) for b in first}


def test_without_shuffle_frames_come_in_order() -> None:
    sampler = BatchSampler(OFFSETS, 4, seed=3, shuffle=False)
    expected = [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 0, 1, 2],
        [13, 14, 15, 16], [17, 13, 14, 15],
    ]  # fmt: skip
    assert epoch_of(sampler, 0) == epoch_of(sampler, 5) == expected


def test_the_epoch_may_be_set_after_iter() -> None:
    """As Lightning does when it resumes."""
    sampler = BatchSampler(OFFSETS, 4, seed=3)
    iterator = iter(sampler)
    sampler.set_epoch(2)
    assert list(iterator) == epoch_of(BatchSampler(OFFSETS, 4, seed=3), 2)


def test_content_hash(trajectories: dict[str, Trajectory]) -> None:
    original = content_hash(trajectories)
    assert content_hash(dict(reversed(trajectories.items()))) == original

    def changed(**arrays: Any) -> str:
        return content_hash(
            {**trajectories, "H2O": dataclasses.replace(trajectories["H2O"], **arrays)}
        )

    water = trajectories["H2O"]
    for key in ("positions", "forces"):
        array = getattr(water, key).copy()
        array[3, 1, 2] += 1e-9
        assert changed(**{key: array}) != original
    assert changed(numbers=np.array([8, 1, 6])) != original
    assert changed(positions=water.positions.copy()) == original
    assert content_hash({"x": water}) != content_hash({"y": water})


def test_element_shifts_are_recovered() -> None:
    def of(numbers: list[int], noise: list[float]) -> Trajectory:
        frames, n = len(noise), len(numbers)
        total = sum(SHIFTS[ELEMENTS.index(z)] for z in numbers)
        return Trajectory(
            numbers=np.array(numbers),
            masses=np.ones(n),
            positions=np.zeros((frames, n, 3)),
            velocities=np.zeros((frames, n, 3)),
            forces=np.zeros((frames, n, 3)),
            energies=total + np.array(noise),
            temperature=np.zeros(frames),
            time=np.zeros(frames),
            has_label=np.array([True] * (frames - 1) + [False]),
        )

    # The last frame has no label, so its energy must not count; the others average to the shifts.
    trajectories = [
        of([8, 1, 1], [0.5, -0.5, 1e9]),
        of([7, 1, 1, 1], [1.0, -1.0, 1e9]),
        of([6, 1, 1, 1, 1], [0.0, 1e9]),
        of([6, 8], [0.0, 1e9]),
        of([7, 7], [0.0, 1e9]),
    ]
    assert element_shifts(trajectories, ELEMENTS) == pytest.approx(SHIFTS, rel=1e-12)


def test_shifts_with_too_few_molecules_are_finite(springs: Any) -> None:
    """One molecule cannot tell its elements apart, but its own energy is still met."""
    hydrogen, oxygen = element_shifts([springs("H2O", 5)], [1, 8])
    assert 2 * hydrogen + oxygen == pytest.approx(springs("H2O", 5).energies.mean())


def test_load_folder(folders: tuple[Path, Path], tmp_path: Path) -> None:
    loaded = load_folder(folders[0])
    assert list(loaded) == ["CH3OH", "H2O", "NH3"]
    assert all(len(trajectory) == 20 for trajectory in loaded.values())
    with pytest.raises(FileNotFoundError, match=r"no trajectory shards \(\*.npz\)"):
        load_folder(tmp_path)
