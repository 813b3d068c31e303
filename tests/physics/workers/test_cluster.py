"""Calculators on a real Dask cluster; workers are really killed."""

import logging
import os

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from kstep_integrators import Ensemble, KStepDynamics, load_model, run_ensemble
from kstep_integrators.physics.workers import Request, dispatch, make_workers
from kstep_integrators.physics.workers import cluster as dask_cluster
from tests.conftest import hot
from tests.physics.worker_factories import gfn2, morse
from tests.physics.workers.test_processes import evaluate, failures, molecules


@pytest.fixture(scope="module")
def cluster():
    """Two workers, started again when they die."""
    # With the profiler, a worker that runs PyTorch can lock up in Python 3.11: cpython#106883.
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def workers(cluster):
    cluster.wait_for_workers(2, timeout=120)  # after the test before
    workers = make_workers(morse, scheduler=cluster.scheduler_address)
    yield workers
    workers.close()


def test_a_replica_keeps_its_worker_and_its_calculator(workers, tmp_path):
    systems = molecules("water", "ethanol", "methane")
    for number, atoms in enumerate(systems):
        atoms.info["diary"] = str(tmp_path / str(number))
    for seed in range(3):
        asked, answers = evaluate(workers, systems, 0, seed)
    homes = []
    for number in range(3):
        lines = [line.split() for line in (tmp_path / str(number)).read_text().splitlines()]
        assert [int(calls) for _, calls, _ in lines] == [1, 2, 3]
        assert {threads for *_, threads in lines} == {"1"}
        homes.append({pid for pid, *_ in lines})
        assert len(homes[-1]) == 1
    assert len(set.union(*homes)) == 2
    assert str(os.getpid()) not in set.union(*homes)
    here = make_workers(morse).evaluate(asked)
    for mine, theirs in zip(here, answers, strict=True):
        assert theirs.energy == mine.energy
        np.testing.assert_array_equal(theirs.forces, mine.forces)


def test_failures_and_killed_workers(workers, tmp_path, caplog):
    systems = molecules("water", "methane", "methanol", "water")
    for atoms, accident in zip(systems, ("raise", "kill", "factory"), strict=False):
        atoms.info["accident"] = accident
    lives = tmp_path / "lives"
    systems[1].info["lives"] = str(lives)
    evaluate(workers, systems, 0)
    lives.write_text("1")
    _, answers = evaluate(workers, systems, 0, seed=0)
    found = failures(answers)
    assert found[:2] == ["RuntimeError: call 2 was told to fail", None]
    assert found[2:] == ["LookupError: no parameters for this molecule", None]
    # Both workers, one after the other; Dask alone would wait for them for ever.
    lives.write_text("2")
    _, answers = evaluate(workers, systems, 0, seed=1)
    assert failures(answers) == [None, None, found[2], None]
    assert caplog.text.count("a worker was lost (tcp://") == 3
    assert caplog.text.count("with replicas 1; others go on") >= 1


def test_a_geometry_that_kills_every_worker_is_given_up(workers, tmp_path, monkeypatch):
    """And not those that had been given to the same workers."""
    monkeypatch.setattr(dispatch, "ATTEMPTS", 2)
    monkeypatch.setattr(dask_cluster, "POLL", 0.5)
    systems = molecules("water", "methane", "water", "water", "water", "water")
    lives = tmp_path / "lives"
    systems[1].info.update(accident="kill", lives=str(lives))
    lives.write_text("2")
    _, answers = evaluate(workers, systems, 0)
    found = failures(answers)
    assert found[1].startswith("2 workers were lost with it, the last: tcp://")
    assert found[:1] + found[2:] == [None] * 5


def test_a_replica_is_the_run_of_its_own_with_gfn2(cluster):
    """Real forces on both sides: an ensemble over Dask, and KStepDynamics in this process."""
    starts = [hot("water", seed=0), hot("ethanol", seed=1)]
    model = load_model("organic-gfn2")
    with Client(cluster) as client:
        result = run_ensemble(starts, model, gfn2, 3, k=4, scheduler=client)
        assert client.status == "running"  # whoever opens it closes it
    assert result.failures == {}
    for atoms, replica in zip(starts, result.replicas, strict=True):
        alone = atoms.copy()
        alone.calc = gfn2(alone)
        KStepDynamics(alone, model, k=4).run(3)
        np.testing.assert_allclose(replica.atoms.positions, alone.positions, atol=1e-5)
        energy = alone.get_potential_energy()
        assert replica.atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
        assert replica.stats.physics_evaluations == 4


def test_without_workers_the_run_waits_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(dask_cluster, "PATIENCE", 0.2)
    monkeypatch.setattr(dask_cluster, "POLL", 0.1)
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        workers = make_workers(morse, scheduler=cluster.scheduler_address)
        cluster.loop.call_later(1.0, cluster.scale, 1)
        answers = workers.evaluate([Request(0, molecules("water")[0])])
        workers.close()
    assert failures(answers) == [None]
    assert f"no workers at {cluster.scheduler_address}; waiting for some" in caplog.text


def test_a_lost_scheduler_is_a_failure_and_the_rest_is_kept():
    model = load_model("organic-gfn2")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster:
            scheduler = cluster.scheduler_address
            ensemble = Ensemble([hot("water")], model, gfn2, k=2, scheduler=scheduler)
            ensemble.run(2)
        ensemble.run(1)
        result = ensemble.result()
        ensemble.close()
    assert f"the Dask scheduler at {scheduler} is gone" in result.failures[0]
    assert result.replicas[0].stats.jumps == 2


def test_a_scheduler_lost_between_the_question_and_the_sending(cluster, monkeypatch):
    workers = make_workers(morse, scheduler=cluster.scheduler_address)
    asked = workers.crew.places

    def lost_afterwards():
        alive = asked()
        workers.crew._client.close()
        return alive

    monkeypatch.setattr(workers.crew, "places", lost_afterwards)
    answers = workers.evaluate([Request(0, molecules("water")[0])])
    workers.close()
    assert failures(answers) == [f"the Dask scheduler at {cluster.scheduler_address} is gone"]


def test_arguments_that_make_no_sense(cluster):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ConnectionError, match="no Dask scheduler answers"),
    ):
        make_workers(morse, scheduler="tcp://127.0.0.1:1")
    generator = (i for i in ())
    with pytest.raises(TypeError, match="cannot be sent to Dask workers"):
        make_workers(lambda atoms: generator, scheduler=cluster.scheduler_address)
