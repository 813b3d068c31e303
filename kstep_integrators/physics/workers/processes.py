"""Calculators in processes of this machine, started again when they are lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Request
from kstep_integrators.physics.workers.dealing import ATTEMPTS, deal

__all__ = ["ProcessWorkers"]

_log = logging.getLogger(__name__)


def _serve(connection: Connection) -> None:
    """A worker process: receives the factory, says that it is ready, and answers requests."""
    # The parent hears Ctrl-C too and decides; it ends this process by its own means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench = Bench(connection.recv())
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001  (modules raise what they like when imported)
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send(None)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return  # the parent closed its end, or died
        connection.send(bench(request))


@contextmanager
def _one_thread() -> Iterator[None]:
    """OMP_NUM_THREADS=1 for processes started inside, unless the user has set it."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


class _Worker:
    """One process, with one request at a time.

    Attributes
    ----------
    idle : bool
        Whether it has said that it is ready, or has answered, and waits for a request.
    """

    def __init__(self, factory: CalculatorFactory) -> None:
        # OpenMP threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _one_thread():
            self.process.start()
        theirs.close()
        self.idle = self._started = False
        self.connection.send(factory)

    def send(self, request: Request) -> None:
        """Hand over a request; if the process is gone, :meth:`receive` says so."""
        self.idle = False
        with suppress(OSError):
            self.connection.send(request)

    def receive(self) -> Answer | None:
        """Wait for the answer, or for the first message, that it is ready: None.

        Raises
        ------
        EOFError, OSError
            If the process is gone.
        RuntimeError
            If it could not load the factory.
        """
        message = self.connection.recv()
        self.idle = True
        if not self._started and message is not None:
            raise RuntimeError(f"it cannot load the calculator function: {message}")
        self._started = True
        answer: Answer | None = message
        return answer

    def end(self) -> None:
        """Tell the process to end, whatever it is doing; :meth:`join` waits until it has."""
        self.connection.close()
        if not self.idle:
            self.process.terminate()

    def join(self) -> None:
        """Wait for the end, and enforce it if need be."""
        self.process.join(30.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class ProcessWorkers:
    """Calculators in several processes.

    A replica stays with its process, so that its calculator goes on from where it was. A process
    that is lost is replaced by a new one, with new calculators; a geometry that costs
    :data:`~kstep_integrators.physics.workers.dealing.ATTEMPTS` processes is given up.

    Parameters
    ----------
    factory : CalculatorFactory
        Anything that can be pickled: a function of a module, or a ``functools.partial`` of one.
    count : int
        Number of processes.

    Raises
    ------
    TypeError
        If the factory cannot be pickled.
    RuntimeError
        If a process does not start, or cannot load the factory.
    """

    def __init__(self, factory: CalculatorFactory, count: int) -> None:
        try:
            ForkingPickler.dumps(factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"calculator {factory!r} cannot be sent to other processes ({error}); give a "
                "function defined at the top of a module or script, or a functools.partial of one"
            ) from error
        self._factory = factory
        self._homes: dict[int, int] = {}
        self._workers: list[_Worker] = []
        try:
            self._workers += [_Worker(factory) for _ in range(count)]
            for worker in self._workers:
                self._await_start(worker)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _await_start(worker: _Worker) -> None:
        try:
            worker.receive()
        except (EOFError, OSError) as error:
            worker.process.join(5.0)
            raise RuntimeError(
                f"a worker process ended (exit code {worker.process.exitcode}) before it was "
                "ready; a script that starts workers does so under `if __name__ == '__main__':`"
            ) from error

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests."""
        for number, worker in enumerate(self._workers):
            if worker.connection.closed:  # ended by an interrupt
                self._workers[number] = _Worker(self._factory)
        answers: dict[int, Answer] = {}
        losses = Counter[int]()
        queues = self._queues(requests)
        try:
            while any(queues):
                for number in self._listen(queues, requests):
                    index = queues[number][0]
                    try:
                        answer = self._workers[number].receive()
                    except (EOFError, OSError, RuntimeError) as error:
                        losses[index] += 1
                        answer = self._lost(number, requests[index], losses[index], str(error))
                    if answer is not None:
                        answers[index] = answer
                        queues[number].popleft()
        except BaseException:
            # Answers on their way would be taken for those of the next requests.
            for worker in self._workers:
                if not worker.idle:
                    worker.end()
                    worker.join()
            raise
        return [answers[index] for index in range(len(requests))]

    def _listen(self, queues: Sequence[deque[int]], requests: Sequence[Request]) -> list[int]:
        """Give idle processes their next request; returns the numbers of those with news."""
        listening: dict[Connection, int] = {}
        for number, (worker, queue) in enumerate(zip(self._workers, queues, strict=True)):
            if queue and worker.idle:
                worker.send(requests[queue[0]])
            if queue:
                listening[worker.connection] = number
        heard = wait([*listening])
        return [number for connection, number in listening.items() if connection in heard]

    def _queues(self, requests: Sequence[Request]) -> list[deque[int]]:
        """Indices of the requests of each process."""
        queues = [deque[int]() for _ in self._workers]
        for index, number in enumerate(deal(requests, self._homes, range(len(queues)))):
            queues[number].append(index)
        return queues

    def _lost(self, number: int, request: Request, losses: int, reason: str) -> Answer | None:
        """A new process in place of a lost one; an answer if its request is given up."""
        worker = self._workers[number]
        worker.process.join(5.0)
        reason = reason or f"exit code {worker.process.exitcode}"
        worker.end()
        worker.join()
        self._workers[number] = _Worker(self._factory)
        _log.warning(
            "a worker process was lost (%s) with replica %d; started a new one",
            reason,
            request.replica,
        )
        if losses < ATTEMPTS:
            return None
        return Answer(failure=f"{losses} worker processes were lost with it, the last: {reason}")

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join()
