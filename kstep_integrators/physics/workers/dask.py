"""Calculators in the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Request
from kstep_integrators.physics.workers.dealing import ATTEMPTS, deal

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskWorkers"]

PATIENCE = 30.0
"""seconds; how often a cluster without workers is mentioned in the log."""

POLL = 2.0
"""seconds; how often lost workers are looked for."""

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

    A replica stays with its worker, so that its calculator goes on from where it was. If a worker
    is lost, its geometries are sent to others, which make new calculators; one that costs
    :data:`~kstep_integrators.physics.workers.dealing.ATTEMPTS` workers is given up. Without any
    worker, the run waits until one comes.

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
        self._address = scheduler.scheduler_info()["address"]
        self._factory = factory
        self._run = uuid.uuid4().hex
        self._homes: dict[int, str] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests."""
        from distributed.client import ClosedClientError

        answers: dict[int, Answer] = {}
        losses = Counter[int]()
        sent: dict[int, tuple[str | None, Future[Any]]] = {}
        quiet = time.monotonic()
        try:
            while len(answers) < len(requests):
                alive = self._addresses()
                if alive:
                    quiet = time.monotonic()
                elif time.monotonic() - quiet > PATIENCE:
                    _log.warning("no workers at %s; waiting for some", self._address)
                    quiet = time.monotonic()
                # Dask leaves a task alone that was meant for a worker that is gone.
                for i in [i for i, (home, _) in sent.items() if home and home not in alive]:
                    self._client.cancel(sent.pop(i)[1])
                    losses[i] += 1
                    _log.warning("a Dask worker was lost with replica %d", requests[i].replica)
                    if losses[i] == ATTEMPTS:
                        answers[i] = Answer(failure=f"{ATTEMPTS} workers were lost with it")
                new = [i for i in range(len(requests)) if not (i in sent or i in answers)]
                # Whichever it was that cost a worker, it is not to cost the others theirs: one of
                # them at a time.
                suspects = [i for i in new if losses[i]]
                new = [i for i in new if not losses[i]]
                if not any(losses[i] for i in sent):
                    new += suspects[:1]
                sent.update(self._send(requests, new, alive))
                for i, answer in self._collect(requests, sent):
                    answers[i] = answer
                    del sent[i]
        except (OSError, ClosedClientError):
            # Noticed when the workers are asked for, or, if the client has closed since, when
            # something is sent.
            gone = Answer(failure=f"the Dask scheduler at {self._address} is gone")
            return [answers.get(i, gone) for i in range(len(requests))]
        except BaseException:
            # An interrupt: nobody waits for what is under way.
            with suppress(Exception):
                self._client.cancel([future for _, future in sent.values()])
            raise
        return [answers[i] for i in range(len(requests))]

    def _addresses(self) -> list[str]:
        """Workers that are there.

        Raises
        ------
        OSError, distributed.client.ClosedClientError
            If the scheduler is not.
        """
        info: dict[str, Any] = self._client.scheduler_info(n_workers=-1)
        if "workers" not in info:
            raise OSError("the client knows no scheduler")
        return sorted(info["workers"])

    def _send(
        self, requests: Sequence[Request], indices: Sequence[int], alive: Sequence[str]
    ) -> dict[int, tuple[str | None, Future[Any]]]:
        """Submit some of the requests, each to the worker of its replica."""
        chosen = [requests[i] for i in indices]
        homes: list[str | None] = [None] * len(chosen)
        if alive:
            homes = [*deal(chosen, self._homes, alive)]
        return {
            i: (
                home,
                self._client.submit(
                    _compute,
                    self._run,
                    self._factory,
                    request,
                    workers=home,
                    pure=False,
                ),
            )
            for i, home, request in zip(indices, homes, chosen, strict=True)
        }

    def _collect(
        self, requests: Sequence[Request], sent: Mapping[int, tuple[str | None, Future[Any]]]
    ) -> list[tuple[int, Answer]]:
        """Answers that come in for a while; fewer than all if that is too short."""
        from distributed import as_completed

        numbers = {future.key: i for i, (_, future) in sent.items()}
        found = []
        futures = [future for _, future in sent.values()]
        try:
            for future in as_completed(futures, loop=self._client.loop, timeout=POLL):
                try:
                    home, answer = future.result(timeout=POLL)
                except TimeoutError:
                    continue  # it was lost with its worker before it could be fetched
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                    # KilledWorker, a scheduler that is gone, and whatever else broke.
                    answer = Answer(failure=f"{type(error).__name__}: {error}")
                else:
                    self._homes[requests[numbers[future.key]].replica] = home
                found.append((numbers[future.key], answer))
        except TimeoutError:
            pass
        return found

    def close(self) -> None:
        """Drop the calculators in the workers, and the connection if it was opened here."""
        with suppress(Exception):  # they are lost already if the cluster is
            self._client.run(_forget, self._run)
        if self._owned:
            self._client.close()
