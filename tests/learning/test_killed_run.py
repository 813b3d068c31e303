"""Learning runs that are killed with SIGKILL, and gone on with in another process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from ase.io import read

from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.learning import adapted, shown_backbone
from tests.learning.killed_run import go
from tests.learning.runs import backbone, make_small

STEPS, KILLS = 36, 10


def _process(folder, steps):
    adapted.FUNCTIONS = shown_backbone.FUNCTIONS = 32  # in this process alone
    go(folder, steps)


@pytest.mark.slow
def test_nothing_is_lost_or_doubled(tmp_path, monkeypatch):
    """Ten kills at moments drawn from all of a run: same path, same labels, same evaluations."""
    make_small(monkeypatch)
    backbone(tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.learning.killed_run"])
    (through := tmp_path / "through").mkdir()
    began = time.perf_counter()
    go(through, STEPS)
    seconds = time.perf_counter() - began
    (run := tmp_path / "run").mkdir()
    rng, killed = np.random.default_rng(0), 0
    while True:
        process = context.Process(target=_process, args=(run, STEPS))
        process.start()
        # Longer ones as it gets on, for a checkpoint to be reached at all.
        alive = None if killed == KILLS else rng.uniform(0.05, 0.35) * seconds
        process.join(alive)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            continue
        assert process.exitcode == 0
        break
    assert killed >= 3, "the run was over before it could be killed"
    one, other = (read_checkpoint(folder / "run.ckpt") for folder in (run, through))
    assert one.generators == other.generators
    assert one.run.stats[0].physics_evaluations == other.run.stats[0].physics_evaluations
    assert one.run.lessons.weights.equal(other.run.lessons.weights)
    assert one.run.pace == other.run.pace
    for name in ("md.traj", "md.log"):
        assert (run / name).read_bytes() == (through / name).read_bytes(), name
    labels, others = (read(folder / "run.labels.traj", ":") for folder in (run, through))
    assert len(labels) == len(others) == STEPS + 1
    for label, its in zip(labels, others, strict=True):
        np.testing.assert_array_equal(label.positions, its.positions)
        np.testing.assert_array_equal(label.get_forces(), its.get_forces())
        assert label.get_potential_energy() == its.get_potential_energy()
        assert label.info == its.info
