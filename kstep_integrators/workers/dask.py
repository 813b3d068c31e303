"""Calculators in the workers of a Dask cluster."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from kstep_integrators.workers.bench import Answer, Bench, CalculatorFactory, Request

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskWorkers"]

PATIENCE = 30.0
"""seconds; how often a cluster without workers is mentioned in the log."""

_log = logging.getLogger(__name__)

_benches: dict[str, Bench] = {}
"""In a worker: the calculators of each run."""
_busy = Lock()


def _compute(run: str, factory: CalculatorFactory, request: Request) -> tuple[str, Answer]:
    """In a worker: its address, and the answer."""
    from distributed import get_worker

    # Quantum chemistry codes rarely bear two threads in one process.
    with _busy:
        bench = _benches.setdefault(run, Bench(factory))
        return str(get_worker().address), bench(request)


def _forget(run: str) -> None:
    """In a worker: drop the calculators of a run."""
    _benches.pop(run, None)


class DaskWorkers:
    """Calculators in Dask workers.

    A replica goes to the worker that it was at last; if that is lost, Dask sends the geometry to
    another, which makes a new calculator. A geometry with which more workers die than the cluster
    allows (``distributed.scheduler.allowed-failures``, 3) is given up. Without any worker, the run
    waits until one comes.

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
        If the factory cannot be sent.

    Notes
    -----
    A worker process computes one geometry at a time, whatever its number of threads: start workers
    with one thread each (``dask worker ADDRESS --nworkers 8 --nthreads 1``).
    """

    def __init__(self, factory: CalculatorFactory, scheduler: str | Client) -> None:
        try:
            from distributed import Client
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
        self._owned = isinstance(scheduler, str)
        if isinstance(scheduler, str):
            try:
                scheduler = Client(scheduler, set_as_default=False)
            except OSError as error:
                raise ConnectionError(
                    f"no Dask scheduler answers at {scheduler!r}: {error}"
                ) from error
        self._client = scheduler
        self._factory = factory
        self._run = uuid.uuid4().hex
        self._homes: dict[int, str] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests."""
        self._settle(requests)
        futures = [
            self._client.submit(
                _compute,
                self._run,
                self._factory,
                request,
                workers=self._homes.get(request.replica),
                allow_other_workers=request.replica in self._homes,
                pure=False,
            )
            for request in requests
        ]
        try:
            self._wait(futures)
        except BaseException:  # an interrupt
            self._client.cancel(futures)
            raise
        return [
            self._answer(request, future) for request, future in zip(requests, futures, strict=True)
        ]

    def _settle(self, requests: Sequence[Request]) -> None:
        """Deal replicas that have no worker yet to those that are there."""
        new = [request.replica for request in requests if request.replica not in self._homes]
        if not new:
            return
        addresses = sorted(self._addresses())
        for number, replica in enumerate(new):
            if addresses:
                self._homes[replica] = addresses[number % len(addresses)]

    def _addresses(self) -> list[str]:
        info: dict[str, Any] = self._client.scheduler_info(n_workers=-1)
        return list(info["workers"])

    def _wait(self, futures: Sequence[Future[Any]]) -> None:
        """Until none of them is pending."""
        from distributed import CancelledError, wait

        while True:
            try:
                wait(futures, timeout=PATIENCE)
            except TimeoutError:
                if not self._addresses():
                    _log.warning("no workers at %s; waiting for some", self._client.scheduler)
            except CancelledError:
                return  # each of them says so
            else:
                return

    def _answer(self, request: Request, future: Future[Any]) -> Answer:
        try:
            home, answer = future.result()
        except Exception as error:  # noqa: BLE001  (KilledWorker, and whatever else broke)
            return Answer(failure=f"{type(error).__name__}: {error}")
        self._homes[request.replica] = home
        return answer  # type: ignore[no-any-return]

    def close(self) -> None:
        """Drop the calculators in the workers, and the connection if it was opened here."""
        with suppress(Exception):  # they are lost already if the cluster is
            self._client.run(_forget, self._run)
        if self._owned:
            self._client.close()
