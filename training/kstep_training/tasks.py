"""Tasks on many processors: local processes, or the workers of any Dask cluster."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["map_tasks"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOCAL: Final = {
    # The system says when a process of this machine has ended. One whose library keeps Python from
    # running for minutes has not, and is not to be killed for its silence.
    "distributed.scheduler.worker-ttl": None,
    # Taking the frames of all threads can make a garbage collection wait for a lock that PyTorch's
    # thread waits for, for ever: https://github.com/python/cpython/issues/106883.
    "distributed.worker.profile.enabled": False,
    # Fifty wake-ups a second in each process cost a good part of a small computer.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Configuration of Dask's workers in processes of this machine."""

_log = logging.getLogger(__name__)


def map_tasks(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[tuple[Job, Result | Exception]]:
    """Results of a function for many jobs, as they end.

    A job whose worker is lost is run again on another one, so a function must bear that.

    Parameters
    ----------
    function : callable
        Of a module that the workers can import.
    jobs : sequence
        Arguments. They begin in this order.
    workers : int
        Local processes, each with one thread and one OpenMP thread, if there is no scheduler.
    scheduler : str, optional
        Address of a Dask scheduler; its workers, which see the same files, take the jobs.

    Yields
    ------
    job, result
        An exception that the function raised is a result. So is Dask's ``KilledWorker`` of a job
        that has cost four workers.

    Raises
    ------
    ValueError
        If the number of workers makes no sense.
    ImportError
        If Dask is missing; the message names the extra.
    ConnectionError
        If there is no scheduler at the address, or it goes away.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    if not jobs:
        return
    with _client(min(workers, len(jobs)), scheduler) as client:
        from distributed import as_completed

        if not client.scheduler_info()["workers"]:
            _log.warning("no workers at %s yet; waiting for some", scheduler)
        futures = client.map(function, jobs, pure=False)
        places = {future.key: job for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures, loop=client.loop):
            if future.cancelled():
                raise ConnectionError(
                    f"the Dask scheduler at {scheduler} is gone; what is finished is kept"
                )
            error = future.exception()
            yield places[future.key], future.result() if error is None else error
            future.release()


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    try:
        import dask
        from distributed import Client, LocalCluster

        from kstep_integrators.physics.workers.cluster import connect
    except ImportError as error:
        raise ImportError(
            "workers need distributed, which is not installed; install it with: "
            "pip install 'kstep-integrators[train]'"
        ) from error
    if scheduler is not None:
        with connect(scheduler) as client:
            yield client
        return
    with ExitStack() as stack:
        with dask.config.set(_LOCAL), _deaf_children():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # any free port
                    memory_limit=0,  # no limit on what quantum chemistry needs
                    silence_logs=logging.CRITICAL,
                    env={"OMP_NUM_THREADS": "1"},  # small molecules gain nothing from more
                )
            )
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes of threads that start in here never hear Ctrl-C, from their first instruction.

    A terminal sends it to all processes. This one decides, and ends the others by its own means;
    it hears what came meanwhile at the end of the block.
    """
    if sys.platform == "win32":
        yield
        return
    # Starting the tracker unblocks the signal again, so it has to be there before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
