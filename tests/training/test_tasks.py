"""Jobs on real Dask workers, some of which are killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from kstep_training.tasks import map_tasks
from tests.training.worker_tasks import (
    die,
    fail_on_odd,
    keep_python_from_running,
    profiled,
    threads,
    wait_for_file,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


def test_local_processes_with_one_thread_each() -> None:
    jobs = ["a", "b"]
    ended = dict(map_tasks(threads, jobs, workers=2))
    assert sorted(ended) == jobs
    for result in ended.values():
        assert not isinstance(result, Exception)
        pid, openmp = result
        assert pid != os.getpid()
        assert openmp == "1"


def test_local_processes_are_not_profiled(cluster: LocalCluster) -> None:
    """A deadlock of Python 3.11 lies there: python/cpython#106883."""
    assert list(map_tasks(profiled, [0], workers=1)) == [(0, False)]
    assert list(map_tasks(profiled, [0], scheduler=cluster.scheduler_address)) == [(0, True)]


def test_an_exception_is_a_result_and_the_others_go_on(cluster: LocalCluster) -> None:
    ended = dict(map_tasks(fail_on_odd, range(4), scheduler=cluster.scheduler_address))
    assert (ended[0], ended[2]) == (0, 4)
    for job in (1, 3):
        assert isinstance(ended[job], ValueError)
        assert str(ended[job]) == f"{job} is odd"


def test_nothing_to_do_needs_no_workers() -> None:
    assert list(map_tasks(fail_on_odd, [], scheduler="tcp://nowhere:1")) == []


def test_the_job_of_a_killed_worker_is_run_again(cluster: LocalCluster, tmp_path: Path) -> None:
    jobs = [tmp_path / str(number) for number in range(3)]
    (tmp_path / "1.lives").write_text("1")
    ended = dict(map_tasks(die, jobs, scheduler=cluster.scheduler_address))
    assert ended == {path: path.name for path in jobs}
    assert (tmp_path / "1.lives").read_text() == "0"


def test_a_job_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    jobs = [tmp_path / str(number) for number in range(2)]
    (tmp_path / "0.lives").write_text("99")
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        ended = dict(map_tasks(die, jobs, workers=2))
    assert type(ended[jobs[0]]).__name__ == "KilledWorker"
    assert ended[jobs[1]] == "1"
    assert (tmp_path / "0.lives").read_text() == "97"


@pytest.mark.slow
def test_a_job_that_keeps_its_worker_silent_is_left_alone(tmp_path: Path) -> None:
    jobs = [tmp_path / str(number) for number in range(2)]
    with dask.config.set({"distributed.scheduler.worker-ttl": "1s"}):
        ended = dict(map_tasks(keep_python_from_running, jobs, workers=2))
    assert ended == {path: path.name for path in jobs}
    assert [path.read_text() for path in jobs] == ["begun\n"] * 2


def test_no_scheduler_at_the_address() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(
            ConnectionError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"
        ),
    ):
        list(map_tasks(fail_on_odd, [1], scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at 'cluster'"):
        list(map_tasks(fail_on_odd, [1], scheduler="cluster"))


def test_a_number_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
        list(map_tasks(fail_on_odd, [1], workers=0))


def test_dask_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'kstep-integrators\[train\]'"):
        list(map_tasks(fail_on_odd, [1]))


def test_a_scheduler_that_goes_away(tmp_path: Path) -> None:
    address = tmp_path / "address"
    script = Path(__file__).with_name("dask_cluster.py")
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "training")])
    command = [sys.executable, script, address]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            for _ in range(300):
                if address.exists():
                    break
                time.sleep(0.1)
            jobs = [tmp_path / "there", tmp_path / "never"]
            jobs[0].touch()
            results = map_tasks(wait_for_file, jobs, scheduler=address.read_text())
            assert next(results) == (jobs[0], "there")
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionError, match="is gone; what is finished is kept"):
                next(results)
        finally:
            process.kill()


def test_without_workers_it_waits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        cluster.loop.call_later(0.5, cluster.scale, 1)
        assert list(map_tasks(fail_on_odd, [2], scheduler=cluster.scheduler_address)) == [(2, 4)]
    assert f"no workers at {cluster.scheduler_address} yet; waiting for some" in caplog.text
