"""Functions for workers, which import them from here."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from distributed import get_worker


def threads(job: str) -> tuple[int, str | None]:
    """The process and its OpenMP threads."""
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def fail_on_odd(job: int) -> int:
    """Twice an even number."""
    if job % 2:
        raise ValueError(f"{job} is odd")
    return 2 * job


def die(job: Path) -> str:
    """The name of a path, from a worker that has survived as often as JOB.lives says."""
    lives = job.with_suffix(".lives")
    left = int(lives.read_text()) if lives.exists() else 0
    if left:
        lives.write_text(str(left - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return job.name


def wait_for_file(job: Path) -> str:
    """The name of a file, once it is there."""
    while not job.exists():
        time.sleep(0.05)
    return job.name


def keep_python_from_running(job: Path) -> str:
    """The name of a path, from a library that does not let go of Python for nine seconds."""
    with job.open("a") as file:
        file.write("begun\n")
    ctypes.PyDLL(None).usleep(9_000_000)
    return job.name


def profiled(job: int) -> bool:
    """Whether the worker takes samples of what its threads do."""
    return "profile" in get_worker().periodic_callbacks
