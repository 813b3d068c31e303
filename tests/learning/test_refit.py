"""The worker process of a refit: started, looked at, ended, and never left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kstep_integrators.learning import refit as module
from kstep_integrators.learning.refit import Refit, have_trainer, write_refit
from kstep_integrators.models.model_file import read_model
from tests.refits import HEADER, labelled, make_folder, tiny_network

LONG = 100_000


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_refit_in_the_background(tmp_path: Path) -> None:
    worker = Refit(make_folder(tmp_path / "refit", epochs=2), nice=1)
    assert worker.poll().state == "stopped"
    worker.start()
    worker.start()  # no second one
    assert worker._process is not None
    assert worker.poll().state == "running"
    wait_for(lambda: worker.poll().state != "running")
    news = worker.poll()
    assert (news.state, news.epoch, news.epochs) == ("finished", 2, 2), news.reason
    assert news.error is not None
    assert news.seconds > 0.0
    read_model(worker.model)
    worker.terminate()
    assert Refit(worker.folder).poll() == news  # after a restart
    assert (worker.folder / "log.txt").read_text() == ""


def test_ended_and_gone_on_with(tmp_path: Path) -> None:
    worker = Refit(make_folder(tmp_path / "refit", epochs=LONG), nice=0)
    worker.start()
    wait_for(lambda: worker.poll().epoch > 0)
    process = worker._process
    assert process is not None
    worker.terminate()
    assert process.returncode == 130
    log = (worker.folder / "log.txt").read_text()
    assert log.startswith("stopped; run again with the same output folder")
    done = worker.poll()
    assert done.state == "stopped"
    again = Refit(worker.folder, nice=0)
    again.start()
    wait_for(lambda: again.poll().epoch > done.epoch)
    again.terminate()


def test_a_failure_is_news(tmp_path: Path) -> None:
    worker = Refit(make_folder(tmp_path / "refit"), nice=0)
    (worker.folder / "targets.traj").write_text("nothing")
    worker.start()
    wait_for(lambda: worker.poll().state != "running")
    news = worker.poll()
    assert news.state == "failed"
    assert "targets.traj is not a trajectory of ASE" in news.reason


PARENT = """
import sys, time
from kstep_integrators.learning.refit import Refit
worker = Refit(sys.argv[1], nice=0)
worker.start()
print(worker._process.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # One that has ended and that nobody has asked for is none.
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_no_orphan(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "refit", epochs=LONG)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: (folder / "progress.json").exists())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not alive(pid), 30.0)


def test_a_folder_is_not_written_twice(tmp_path: Path) -> None:
    make_folder(tmp_path)
    with pytest.raises(FileExistsError, match="holds a refit already"):
        write_refit(tmp_path, tiny_network(), HEADER, labelled(2))


def test_without_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert have_trainer()
    monkeypatch.setattr(module, "_NEEDS", ("kstep_training", "no_such_package"))
    assert not have_trainer()
