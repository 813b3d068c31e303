"""Runs of several dimers, whose frames are labelled."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kstep_training.manifest import keep_identity
from kstep_training.observables.dynamics.dimer_dynamics import DimerSettings, dimer_dynamics
from kstep_training.tasks import map_tasks

__all__ = ["dimer_runs"]


@dataclass(frozen=True)
class _Job:
    pair: tuple[str, str]
    path: Path
    settings: DimerSettings


def _task(job: _Job) -> Path:
    """Make one run, in a worker, unless it has been made before."""
    if not job.path.exists():
        unfinished = job.path.with_suffix(".unfinished")
        dimer_dynamics(*job.pair, unfinished, job.settings)
        os.replace(unfinished, job.path)
    return job.path


def dimer_runs(
    dimers: Sequence[tuple[str, str]],
    runs: int,
    settings: DimerSettings,
    folder: str | Path,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[int, Iterator[tuple[str, Path | Exception]]]:
    """Run each dimer some times, from starts and with momenta of its own.

    Parameters
    ----------
    dimers : sequence of (str, str)
        Molecules as of ``kstep run``.
    runs : int
        Of each dimer.
    settings : DimerSettings
        The seeds of runs count up from that of the settings.
    folder : path
        Of the trajectories, ``PLACE.NUMBER.traj``: the place of the dimer as they are listed.
        Finished ones are kept.
    workers : int
        Local processes, one run each at a time.
    scheduler : str, optional
        Address of a Dask cluster, whose workers take the place of the local processes.

    Returns
    -------
    total : int
        Number of runs.
    runs : iterator of (str, Path or Exception)
        Name, and trajectory or what has ended the run, of each run as it ends.

    Raises
    ------
    ValueError
        If the folder holds trajectories of other dimers or settings.

    Examples
    --------
    >>> import tempfile
    >>> few = DimerSettings(frames=2, interval_fs=20.0, equilibration_fs=0.0)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     total, made = dimer_runs([("ethene", "ethene")], 1, few, place)
    ...     [(name, path)] = made
    >>> total, name, path.name
    (1, '0.0', '0.0.traj')
    """
    folder = Path(folder).resolve()
    identity = {"dimers": dimers, "settings": dataclasses.asdict(settings)}
    keep_identity(folder / "dimers.json", identity, f"{folder} holds trajectories")
    # The first of all dimers before the second of any: what is there early is of every kind.
    jobs = [
        _Job(
            pair,
            folder / f"{place}.{number}.traj",
            dataclasses.replace(settings, seed=settings.seed + number),
        )
        for number in range(runs)
        for place, pair in enumerate(dimers)
    ]
    results = map_tasks(_task, jobs, workers, scheduler)
    return len(jobs), ((job.path.stem, result) for job, result in results)
