"""Ctrl-C as a terminal sends it: to the program and all of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["interrupt", "interruptible"]

# What is started in the background of a shell would ignore it.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from kstep_integrators.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def interruptible(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``kstep`` with some arguments, in a process group of its own."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "training")])
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, after which one line is said and nothing is left of the group."""
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == (
        "\nkstep: interrupted; run the same command again to resume where it stopped\n"
    )
