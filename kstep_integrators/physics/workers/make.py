"""Workers from the arguments of a run: this process, several, or a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Workers
from kstep_integrators.physics.workers.dispatch import Dispatcher
from kstep_integrators.physics.workers.processes import Processes

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["make_workers"]


def make_workers(
    factory: CalculatorFactory, workers: int = 1, scheduler: str | Client | None = None
) -> Workers:
    """Make the workers of a run.

    Parameters
    ----------
    factory : CalculatorFactory
    workers : int
        Local processes; with 0 or 1 the calculators work in this one.
    scheduler : str or distributed.Client, optional
        Address of a Dask scheduler, or a client of one: its workers, and no local processes.

    Raises
    ------
    TypeError
        If the factory cannot be called, or cannot be sent to other processes.
    ValueError
        If the number makes no sense, or both are given.
    ImportError
        If Dask is asked for and missing; the message names the extra.
    ConnectionError
        If there is no scheduler at the address.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators.physics.workers import Request, make_workers
    >>> workers = make_workers(lambda atoms: LennardJones())
    >>> [answer] = workers.evaluate([Request(0, molecule("H2"))])
    >>> answer.failure is None, answer.forces.shape
    (True, (2, 3))
    """
    if not callable(factory):
        raise TypeError(
            f"calculator is a {type(factory).__name__}, expected a function that takes an Atoms "
            "object and returns a new calculator for it: def make(atoms): return MyCalculator(...)"
        )
    if isinstance(workers, bool) or workers != int(workers) or workers < 0:
        raise ValueError(f"workers is {workers!r}, expected a number of processes >= 0")
    if scheduler is None:
        return Dispatcher(Processes(factory, int(workers))) if workers > 1 else Bench(factory)
    if workers > 1:
        raise ValueError(
            f"workers={workers} are local processes, but scheduler={scheduler!r} was given too; "
            "the size of a Dask cluster is set where it is started"
        )
    from kstep_integrators.physics.workers.cluster import DaskCluster

    return Dispatcher(DaskCluster(factory, scheduler))
