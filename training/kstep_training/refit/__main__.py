"""The worker: ``python -m kstep_training.refit FOLDER``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

__all__ = ["main"]


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _end_with_input() -> None:
    """End at once when standard input does: whoever held its other end is gone."""
    # Not through sys.stdin: a thread that waits in it aborts Python's own shutdown.
    while os.read(0, 1024):
        pass
    os._exit(1)  # what is lost is the epoch under way


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a refit, politely: others on this machine go first.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        0; 1 after an error, which is said in a line; 130 if it was stopped, and can go on.
    """
    parser = argparse.ArgumentParser(
        prog="python -m kstep_training.refit",
        description="Fit all weights of a model to labels; run again, it goes on where it stopped.",
    )
    parser.add_argument(
        "folder", help="with start.safetensors, targets.traj, settings.json; gets model.safetensors"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed"
    )
    parser.add_argument(
        "--nice", type=int, default=10, help="by how much others go first, 0 to 19 (default 10)"
    )
    given = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if given.with_parent:
        threading.Thread(target=_end_with_input, daemon=True).start()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(given.nice)
    # Compiling takes one core too, as everything else; before the modules are imported.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    try:
        from kstep_training.refit.refit import refit

        refit(given.folder, given.quiet)
    except KeyboardInterrupt as stopped:
        sys.stderr.write(f"{str(stopped) or 'stopped before the first epoch'}\n")
        return 130
    except (ImportError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
