"""OpenMP threads of PySCF, per call, and safe in forked workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["openmp_threads"]

_log = logging.getLogger(__name__)

_MANY = False
"""True once this process has run PySCF on more than one thread."""
_INHERITED = False
"""True in a process that was forked from one that had."""


def _after_fork() -> None:
    global _MANY, _INHERITED
    _INHERITED = _INHERITED or _MANY
    _MANY = False


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def openmp_threads(threads: int | None) -> Iterator[int]:
    """Run PySCF on some threads, and set the number back afterwards.

    Parameters
    ----------
    threads : int or None
        None for what the process is set to: ``OMP_NUM_THREADS``, or all cores.

    Yields
    ------
    int
        Threads in use. A process forked from one whose OpenMP threads are running has lost them,
        and would wait for them for ever: there it is 1, with a warning.
    """
    global _MANY
    from pyscf import lib

    wanted = lib.num_threads() if threads is None else threads
    if _INHERITED and wanted > 1:
        _log.warning(
            "this process was forked after PySCF had used several threads, which do not survive a "
            "fork: using 1 thread. Start workers with 'spawn' or 'forkserver' to use more"
        )
        wanted = 1
    _MANY = _MANY or wanted > 1
    with lib.with_omp_threads(wanted):
        yield wanted
