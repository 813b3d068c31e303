"""Padded batches, and the order in which they come: alone, and shared among processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from kstep_training.dataset.batches import Batch, BatchSampler, padded_size


def test_padded_size() -> None:
    assert [padded_size(n, [6, 3]) for n in (1, 3, 4, 6)] == [3, 3, 6, 6]
    with pytest.raises(ValueError, match=r"a molecule of 7 atoms exceeds the padding .*\[6, 3\]"):
        padded_size(7, [6, 3])


def test_graph_pairs_only_real_atoms() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    zero = torch.zeros(2, 3, 3)
    batch = Batch(zero, zero, torch.zeros(2), torch.zeros(2, 3, dtype=torch.int64), mask)
    pairs = batch.graph.pair_mask
    assert pairs[0].tolist() == [[False, True, False], [True, False, False], [False] * 3]
    assert pairs[1].sum() == 6
    moved = batch.to("meta")
    tensors = [tensor for tensor in vars(moved).values() if tensor is not None]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


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
    # What fills up a batch, and the last round of several processes, does not count.
    assert [sampler.counted(place) for place in range(8)] == [4, 4, 4, 1, 4, 1, 0, 0]


def test_the_epoch_may_be_set_after_iter() -> None:
    """As Lightning does when it resumes."""
    sampler = BatchSampler(OFFSETS, 4, seed=3)
    iterator = iter(sampler)
    sampler.set_epoch(2)
    assert list(iterator) == epoch_of(BatchSampler(OFFSETS, 4, seed=3), 2)


def test_too_few_batches_for_the_processes() -> None:
    with pytest.raises(ValueError, match="1 batches of 8 are too few for 2 devices"):
        BatchSampler(np.array([0, 3]), 8, seed=0, devices=2)
    assert len(BatchSampler(np.array([0, 3]), 8, seed=0, shuffle=False, devices=2)) == 1


RANK = """
import json, sys
import numpy as np, torch
from kstep_training.dataset.batches import BatchSampler
rank, file = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
epochs = []
for shuffle in (True, False):
    sampler = BatchSampler(np.array([0, 13, 17]), 4, 3, shuffle, devices=2)
    sampler.set_epoch(1)
    epochs.append([len(sampler), list(sampler)])
print(json.dumps(epochs))
torch.distributed.destroy_process_group()
"""


def test_processes_share_the_batches(tmp_path: Path) -> None:
    """Five batches: of the shuffled ones each process gets two, without any twice."""
    paths = ":".join(entry for entry in sys.path if entry)
    environment = {"PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        for rank in range(2)
    ]
    shares = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    for kind, shuffle in enumerate((True, False)):
        alone = BatchSampler(np.array([0, 13, 17]), 4, 3, shuffle)
        alone.set_epoch(1)
        whole = list(alone)
        assert len(whole) == alone.batches == 5
        (n, first), (m, second) = shares[0][kind], shares[1][kind]
        assert n == m == len(first) == len(second)
        expected = whole[:4] if shuffle else [*whole, whole[0]]  # in order, the round is filled up
        assert first == expected[::2]
        assert second == expected[1::2]
