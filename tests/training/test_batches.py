"""Batches of one padded size, in an order that depends on seed and epoch only."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kstep_training.batches import BatchSampler

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
