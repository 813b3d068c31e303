"""Calculators in this process and in others; processes are really killed."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kstep_integrators import named_molecule
from kstep_integrators.physics.workers import Request, make_workers
from tests.physics.worker_factories import AnyMorse, morse


def molecules(*names, **info):
    """Molecules at their relaxed geometries."""
    found = [named_molecule(name) for name in names]
    for atoms in found:
        atoms.info = dict(info)
    return found


@pytest.fixture(scope="module")
def pair():
    """Two processes; each test takes replicas of its own."""
    workers = make_workers(morse, 2)
    yield workers
    workers.close()


def evaluate(workers, systems, first, seed=None):
    """Answers for replicas from a number on; at the geometries given if there is no seed."""
    rng = np.random.default_rng(seed)
    asked = []
    for number, atoms in enumerate(systems):
        moved = atoms.copy()
        if seed is not None:
            moved.positions += rng.normal(0.0, 0.05, moved.positions.shape)
        asked.append(Request(first + number, moved))
    return asked, workers.evaluate(asked)


def failures(answers):
    return [answer.failure for answer in answers]


@pytest.mark.parametrize("where", ["here", "processes"])
def test_answers_are_those_of_the_calculators(where, pair):
    systems = molecules("water", "ethanol", "methane")
    workers = pair if where == "processes" else make_workers(morse)
    asked, answers = evaluate(workers, systems, 0, seed=0)
    assert failures(answers) == [None] * 3
    for request, answer in zip(asked, answers, strict=True):
        there = request.atoms.copy()
        there.calc = AnyMorse()
        assert answer.energy == there.get_potential_energy()
        np.testing.assert_array_equal(answer.forces, there.get_forces())


def test_a_replica_keeps_its_process_and_its_calculator(pair, tmp_path):
    systems = molecules("water", "water", "water")
    for number, atoms in enumerate(systems):
        atoms.info["diary"] = str(tmp_path / str(number))
    for seed in range(3):
        asked = [Request(10 + i, atoms.copy()) for i, atoms in enumerate(systems)]
        for request in asked:
            request.atoms.rattle(0.05, seed=seed)
        pair.evaluate(asked[:: -1 if seed else 1])
    homes = []
    for number in range(3):
        lines = [line.split() for line in (tmp_path / str(number)).read_text().splitlines()]
        assert [int(calls) for _, calls, _ in lines] == [1, 2, 3]
        homes.append({pid for pid, *_ in lines})
        assert len(homes[-1]) == 1
    assert len(set.union(*homes)) == 2
    assert str(os.getpid()) not in set.union(*homes)


@pytest.mark.parametrize("where", ["here", "processes"])
def test_energies_alone(where, pair):
    workers = pair if where == "processes" else make_workers(morse)
    [answer] = workers.evaluate([Request(20, molecules("water")[0], forces=False)])
    assert np.isfinite(answer.energy)
    assert answer.forces is not None  # the springs find both at once


@pytest.mark.parametrize("where", ["here", "processes"])
def test_a_failure_is_its_own(where, pair):
    systems = molecules("water", "methane", "methanol", "water")
    for atoms, accident in zip(systems, ("raise", "nan", "factory"), strict=False):
        atoms.info["accident"] = accident
    workers = pair if where == "processes" else make_workers(morse)
    evaluate(workers, systems, 30)
    _, answers = evaluate(workers, systems, 30, seed=0)
    assert failures(answers) == [
        "RuntimeError: call 2 was told to fail",
        "the calculator returned the energy nan eV and no finite forces on atoms [0, 1, 2, 3, 4]",
        "LookupError: no parameters for this molecule",
        None,
    ]
    for answer in answers[:3]:
        assert answer.forces is None
        assert np.isnan(answer.energy)
    # The same geometries again: nothing that failed is served from a cache.
    _, answers = evaluate(workers, systems, 30, seed=0)
    assert [reason is None for reason in failures(answers)] == [True, True, False, True]


def test_a_killed_process_is_replaced(pair, tmp_path, caplog):
    systems = molecules("water", "methane", "ethanol")
    lives = tmp_path / "lives"
    systems[1].info = {"accident": "kill", "lives": str(lives)}
    evaluate(pair, systems, 40)
    lives.write_text("1")
    _, answers = evaluate(pair, systems, 40, seed=0)
    assert failures(answers) == [None, None, None]
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("a worker was lost (exit code -9) with replicas ")
    assert "41" in message
    lives.write_text("3")
    _, answers = evaluate(pair, systems, 40, seed=1)
    assert failures(answers) == [
        None,
        "3 workers were lost with it, the last: exit code -9",
        None,
    ]
    _, answers = evaluate(pair, systems, 40, seed=2)
    assert failures(answers) == [None, None, None]
    assert caplog.text.count("a worker was lost (exit code -9)") == 4
    # After the first loss, each geometry on its own.
    assert caplog.text.count("with replicas 41; others go on") >= 2


def test_a_process_that_died_while_idle_is_replaced(pair, caplog):
    systems = molecules("water", "water")
    victim = pair.crew.workers[0].process
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    _, answers = evaluate(pair, systems, 50)
    assert failures(answers) == [None, None]
    assert caplog.text.count("a worker was lost (exit code -9)") == 1


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal gives it: a shell ignores it in what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_what_is_under_way_and_the_next_call_works(pair):
    systems = molecules("water", "methane")
    systems[0].info["accident"] = "slow"
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        evaluate(pair, systems, 60)
    assert time.monotonic() - began < 30.0
    assert sum(worker.process.is_alive() for worker in pair.crew.workers) == 1
    _, answers = evaluate(pair, [systems[1], systems[1]], 62)
    assert failures(answers) == [None, None]


def test_processes_end_and_have_one_thread(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    workers = make_workers(functools.partial(morse), 2)
    evaluate(workers, molecules("water", diary=str(tmp_path / "diary")), 0)
    processes = [worker.process for worker in workers.crew.workers]
    workers.close()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "diary").read_text().split()[2] == "1"
    assert "OMP_NUM_THREADS" not in os.environ


SCRIPT = """
import functools, signal, sys, time
from kstep_integrators.physics.workers import Request, make_workers
from tests.physics.workers.test_processes import molecules
from tests.physics.worker_factories import morse

if __name__ == "__main__":
    workers = make_workers(morse, 2)
    print(*[worker.process.pid for worker in workers.crew.workers], flush=True)
    workers.evaluate([Request(0, molecules("water", accident="slow")[0])])
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_no_orphans(how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.2)
        if how == "SIGINT":  # as Ctrl-C does: the whole group
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.kill()
    idle_only = pids if how == "SIGINT" else pids[1:]
    deadline = time.monotonic() + 20.0
    while any(map(alive, idle_only)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    # After a SIGKILL nobody can stop a calculation; its process ends when it is done.
    assert left == ([] if how == "SIGINT" else pids[:1])


def test_a_script_without_a_main_guard_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from kstep_integrators.physics.workers import make_workers\n"
        "from tests.physics.worker_factories import morse\n"
        "make_workers(morse, 2)\n"
    )
    root = Path(__file__).parents[3]
    found = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 1
    assert "does so under `if __name__ == '__main__':`" in found.stderr


class Unloadable:
    """Can be pickled, and not be unpickled."""

    def __call__(self, atoms):
        raise NotImplementedError

    def __reduce__(self):
        return (int, ("not a number",))


@pytest.mark.parametrize(
    ("factory", "arguments", "kind", "message"),
    [
        ("gfn2", {}, TypeError, "calculator is a str, expected a function that takes an Atoms"),
        (morse, {"workers": -1}, ValueError, "workers is -1, expected a number of processes >= 0"),
        (morse, {"workers": 1.5}, ValueError, "workers is 1.5"),
        (morse, {"workers": True}, ValueError, "workers is True"),
        (morse, {"workers": 2, "scheduler": "tcp://x"}, ValueError, "workers=2 are local"),
        (lambda atoms: None, {"workers": 2}, TypeError, "cannot be sent to other processes"),
        (Unloadable(), {"workers": 2}, RuntimeError, "cannot load the calculator function"),
    ],
    ids=["string", "negative", "fraction", "bool", "both", "lambda", "unloadable"],
)
def test_arguments_that_make_no_sense(factory, arguments, kind, message):
    before = set(multiprocessing.active_children())
    with pytest.raises(kind, match=message):
        make_workers(factory, **arguments)
    assert set(multiprocessing.active_children()) == before
