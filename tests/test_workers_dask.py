"""Calculators on a real Dask cluster; workers are really killed."""

import os

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from kstep_integrators.workers import Request, make_workers
from tests.test_workers import evaluate, failures, molecules
from tests.worker_factories import gfn2, morse


@pytest.fixture(scope="module")
def cluster():
    """Two workers, started again by their nannies when they die; two deaths are too many."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def workers(cluster):
    workers = make_workers(morse, scheduler=cluster.scheduler_address)
    yield workers
    workers.close()


def test_a_replica_keeps_its_worker_and_its_calculator(workers, tmp_path):
    systems = molecules("water", "ethanol", "methane")
    for number, atoms in enumerate(systems):
        atoms.info["diary"] = str(tmp_path / str(number))
    for seed in range(3):
        asked, answers = evaluate(workers, systems, 0, seed)
        here = make_workers(morse)
        here.evaluate([Request(request.replica, atoms) for request, atoms in zip(asked, systems)])
    homes = []
    for number in range(3):
        lines = [line.split() for line in (tmp_path / str(number)).read_text().splitlines()]
        theirs = [line for line in lines if line[0] != str(os.getpid())]
        assert [int(calls) for _, calls, _ in theirs] == [1, 2, 3]
        homes.append({pid for pid, *_ in theirs})
        assert len(homes[-1]) == 1
    assert len(set.union(*homes)) == 2
    assert failures(answers) == [None] * 3
