"""Workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Request
from kstep_integrators.physics.workers.dealing import Place
from kstep_integrators.physics.workers.dispatch import Lost

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskCluster", "connect"]

PATIENCE = 30.0
"""seconds; how often a cluster without workers is mentioned in the log."""

POLL = 2.0
"""seconds; how often lost workers are looked for."""

_log = logging.getLogger(__name__)

_benches: dict[str, Bench] = {}
"""In a worker: the calculators of each run."""
_busy = Lock()


def _compute(run: str, factory: CalculatorFactory, requests: Sequence[Request]) -> list[Answer]:
    """Compute answers, in a worker."""
    # Quantum chemistry codes rarely bear two threads in one process.
    with _busy:
        return _benches.setdefault(run, Bench(factory)).evaluate(requests)


def _forget(run: str) -> None:
    """Drop the calculators of a run, in a worker."""
    _benches.pop(run, None)


def connect(address: str) -> Client:
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str
        For example ``"tcp://host:8786"``.

    Raises
    ------
    ConnectionError
        If there is none at the address.
    """
    from distributed import Client

    try:
        return Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Dask scheduler answers at {address!r}: {error}") from error


class DaskCluster:
    """Crew of Dask workers.

    Parameters
    ----------
    factory : CalculatorFactory
    scheduler : str or distributed.Client
        A client is left open at the end.

    Raises
    ------
    ImportError
        If Dask is missing; the message names the extra.
    ConnectionError
        If there is no scheduler at the address.
    TypeError
        If the factory cannot be sent, or the scheduler is neither.

    Notes
    -----
    A worker process computes one geometry at a time, whatever its number of threads: start workers
    with one thread each (``dask worker ADDRESS --nworkers 8 --nthreads 1``).
    """

    def __init__(self, factory: CalculatorFactory, scheduler: str | Client) -> None:
        try:
            from distributed.protocol.pickle import dumps
        except ImportError as error:
            raise ImportError(
                "a Dask cluster needs distributed, which is not installed; install it with: "
                "pip install 'kstep-integrators[dask]'"
            ) from error
        try:
            dumps(factory)
        except Exception as error:
            # cloudpickle passes on whatever an object raises when it is taken apart.
            raise TypeError(
                f"calculator {factory!r} cannot be sent to Dask workers ({error}); give a function "
                "that holds nothing that cannot be pickled"
            ) from error
        if not isinstance(scheduler, str) and not hasattr(scheduler, "scheduler_info"):
            raise TypeError(
                f"scheduler is {scheduler!r}, expected the address of a Dask scheduler, such as "
                "'tcp://node:8786', or a distributed.Client"
            )
        self._owned = isinstance(scheduler, str)
        self._client = connect(scheduler) if isinstance(scheduler, str) else scheduler
        self._address = self._client.scheduler_info()["address"]
        self._factory = factory
        self._run = uuid.uuid4().hex
        self._sent: dict[Future[Any], tuple[Place, int]] = {}
        """Places of the lists of requests, and their lengths."""
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._quiet = time.monotonic()

    def places(self) -> Sequence[Place]:
        """Addresses of the workers that are there; a log entry now and then if there are none."""
        from distributed.client import ClosedClientError

        try:
            info: dict[str, Any] = self._client.scheduler_info(n_workers=-1)
        except (OSError, ClosedClientError) as error:
            raise self._gone() from error
        if "workers" not in info:
            raise self._gone()
        if info["workers"]:
            self._quiet = time.monotonic()
        elif time.monotonic() - self._quiet > PATIENCE:
            _log.warning("no workers at %s; waiting for some", self._address)
            self._quiet = time.monotonic()
        return sorted(info["workers"])

    def _gone(self) -> ConnectionError:
        return ConnectionError(f"the Dask scheduler at {self._address} is gone")

    def send(self, place: Place, requests: Sequence[Request]) -> None:
        """Submit a list of requests to a worker."""
        from distributed.client import ClosedClientError

        arguments = (_compute, self._run, self._factory, requests)
        try:
            future = self._client.submit(*arguments, workers=place, pure=False)
        except (OSError, ClosedClientError) as error:
            raise self._gone() from error
        self._sent[future] = (place, len(requests))
        future.add_done_callback(self._ended.put)

    def receive(self) -> list[tuple[Place, list[Answer] | Lost]]:
        """Wait for answers; if none come for a while, look for workers that are gone."""
        try:
            ended = [self._ended.get(timeout=POLL)]
        except Empty:
            return self._lost()
        while not self._ended.empty():
            ended.append(self._ended.get())
        news = []
        for future in ended:
            place, count = self._sent.pop(future, (None, 0))
            if place is not None:  # else it was cancelled here
                news.append((place, self._result(future, count)))
        return news

    def _result(self, future: Future[Any], count: int) -> list[Answer] | Lost:
        from distributed import KilledWorker
        from distributed import TimeoutError as TooLong

        try:
            answers: list[Answer] = future.result(timeout=PATIENCE)
        except (asyncio.CancelledError, KilledWorker, TooLong) as error:
            self.places()  # or the scheduler is gone
            self._client.cancel(future)
            return Lost(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  (what cannot be loaded or sent back)
            return [Answer(failure=f"{type(error).__name__}: {error}")] * count
        return answers

    def _lost(self) -> list[tuple[Place, list[Answer] | Lost]]:
        """Workers that are gone: Dask leaves a task alone that was meant for one of them."""
        alive = self.places()
        gone = [(future, place) for future, (place, _) in self._sent.items() if place not in alive]
        for future, _ in gone:
            self._client.cancel(future)
            del self._sent[future]
        return [(place, Lost(f"{place} is gone")) for _, place in gone]

    def abandon(self) -> None:
        """Cancel what is under way."""
        with suppress(Exception):
            self._client.cancel([*self._sent])
        self._sent.clear()

    def close(self) -> None:
        """Drop the calculators in the workers, and the connection if it was opened here."""
        with suppress(Exception):  # they are lost already if the cluster is
            self._client.run(_forget, self._run)
        if self._owned:
            self._client.close()
