"""Workers in processes of this machine, started again when they are lost."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Request
from kstep_integrators.physics.workers.dealing import Place
from kstep_integrators.physics.workers.dispatch import Lost

__all__ = ["Processes"]


def _serve(connection: Connection) -> None:
    """Receive the factory, say that it is ready, and answer requests, in a worker process."""
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
            requests = connection.recv()
        except EOFError:
            return  # the parent closed its end, or died
        connection.send(bench.evaluate(requests))


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
    """Worker process and the connection to it.

    Attributes
    ----------
    busy : bool
        Whether it has been sent requests and has not answered.
    """

    def __init__(self, factory: CalculatorFactory) -> None:
        # OpenMP threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _one_thread():
            self.process.start()
        theirs.close()
        self.busy = self._started = False
        self.connection.send(factory)

    def send(self, requests: Sequence[Request]) -> None:
        """Hand over requests; if the process is gone, :meth:`receive` says so."""
        self.busy = True
        with suppress(OSError):
            self.connection.send(requests)

    def receive(self) -> list[Answer] | None:
        """Wait for the answers, or for the first message, that it is ready: None.

        Raises
        ------
        EOFError, OSError
            If the process is gone.
        RuntimeError
            If it could not load the factory.
        """
        message = self.connection.recv()
        if not self._started:
            if message is not None:
                raise RuntimeError(f"it cannot load the calculator function: {message}")
            self._started = True
            return None
        self.busy = False
        answers: list[Answer] = message
        return answers

    def end(self) -> None:
        """Tell the process to end, whatever it is doing; :meth:`join` waits until it has."""
        self.connection.close()
        if self.busy or not self._started:
            self.process.terminate()

    def join(self) -> None:
        """Wait for the end, and enforce it if need be."""
        self.process.join(30.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Processes:
    """Crew of processes of this machine.

    One that is lost is replaced by a new one, with new calculators.

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

    Notes
    -----
    Neither Dask nor ``concurrent.futures`` serves here. A step over Dask costs ten times as much as
    an energy and forces of GFN2-xTB. Processes of a ``ProcessPoolExecutor`` outlive a parent that
    is killed, those under way cannot be ended at Ctrl-C, and one that dies takes the pool with it.
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
        self.workers: list[_Worker] = []
        try:
            self.workers += [_Worker(factory) for _ in range(count)]
            for worker in self.workers:
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

    def places(self) -> Sequence[Place]:
        """Numbers of all processes; those that an interrupt ended are started again."""
        for number, worker in enumerate(self.workers):
            if worker.connection.closed:
                self.workers[number] = _Worker(self._factory)
        return range(len(self.workers))

    def send(self, place: Place, requests: Sequence[Request]) -> None:
        """Hand a list of requests to a process."""
        self.workers[int(place)].send(requests)

    def receive(self) -> list[tuple[Place, list[Answer] | Lost]]:
        """Wait for answers, and for the end of processes."""
        busy = {w.connection: number for number, w in enumerate(self.workers) if w.busy}
        heard = wait([*busy])
        news: list[tuple[Place, list[Answer] | Lost]] = []
        for number in (number for connection, number in busy.items() if connection in heard):
            try:
                answers = self.workers[number].receive()
            except (EOFError, OSError, RuntimeError) as error:
                news.append((number, self._replace(number, str(error))))
            else:
                if answers is not None:
                    news.append((number, answers))
        return news

    def _replace(self, number: int, reason: str) -> Lost:
        """Start a new process in place of a lost one."""
        worker = self.workers[number]
        worker.process.join(5.0)
        reason = reason or f"exit code {worker.process.exitcode}"
        worker.end()
        worker.join()
        self.workers[number] = _Worker(self._factory)
        return Lost(reason)

    def abandon(self) -> None:
        """End the processes that are computing."""
        for worker in self.workers:
            if worker.busy:
                worker.end()
                worker.join()

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.end()
        for worker in self.workers:
            worker.join()
