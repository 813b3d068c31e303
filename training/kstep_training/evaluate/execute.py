"""Execution of a plan: the jobs that are missing, done in processes, and kept by their keys.

What is in the cache is never made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kstep_training.evaluate.plan import Method, Run, run_key, run_noise, teaching_key
from kstep_training.evaluate.record import Record, read_record, write_record
from kstep_training.evaluate.runs import kept_start, make_records
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.inputs.physics import make_physics
from kstep_training.tasks import map_tasks

__all__ = ["Job", "execute", "jobs_of", "load_records"]


@dataclass(frozen=True)
class Job:
    """Runs of one method from several starts of one molecule; without a method, the starts.

    Attributes
    ----------
    molecule : InputMolecule
    method : Method or None
    seeds : tuple of int
    settings : EvaluateSettings
    cache : Path
    """

    molecule: InputMolecule
    method: Method | None
    seeds: tuple[int, ...]
    settings: EvaluateSettings
    cache: Path

    @property
    def weight(self) -> float:
        """Estimate of its cost, in steps of one atom, for the progress bar."""
        if self.method is None:
            return 2000.0 * self.settings.equilibration_ps * len(self.seeds)
        steps = float(self.method.steps)
        if self.method.kind == "jumps":
            steps += 0.5 * self.method.stride_fs / self.settings.timestep_fs * steps
        return steps * len(self.seeds) if self.method.kind != "ballistic" else 1.0


def record_path(run: Run, settings: EvaluateSettings, cache: Path) -> Path:
    """File that keeps a run."""
    return cache / f"{run_key(run, settings)}.npz"


def jobs_of(
    molecules: Sequence[InputMolecule],
    methods: Sequence[Method],
    settings: EvaluateSettings,
    cache: Path,
) -> tuple[list[Job], list[Job]]:
    """Jobs for all that is missing: starts, and runs from them.

    Returns
    -------
    starts, runs : list of Job
        Runs of every molecule only need its starts, and are independent of each other.
    """
    starts, runs = list[Job](), list[Job]()
    for molecule in molecules:
        needed = set[int]()
        for method in methods:
            seeds = tuple(
                seed
                for seed in range(settings.seeds)
                if not record_path(Run(molecule, method, seed), settings, cache).exists()
            )
            needed |= set(seeds)
            if seeds:
                runs.append(Job(molecule, method, seeds, settings, cache))
        starts += [Job(molecule, None, (seed,), settings, cache) for seed in sorted(needed)]
    return starts, runs


def _work(job: Job) -> str:
    """Do a job, and return its error, or an empty text."""
    torch.set_num_threads(1)
    try:
        starts = [kept_start(job.molecule, s, job.settings, job.cache) for s in job.seeds]
        if job.method is None:
            return ""
        runs = [Run(job.molecule, job.method, seed) for seed in job.seeds]
        entropy = [run_noise(run, job.settings) for run in runs]
        physics = make_physics(job.settings)
        taught = None
        if job.method.learn:
            taught = (
                job.cache / f"{teaching_key(job.molecule, job.method, job.settings)}.safetensors"
            )
        records = make_records(job.method, starts, physics, job.settings, entropy, taught)
        for run, record in zip(runs, records, strict=True):
            write_record(record_path(run, job.settings, job.cache), record)
    except Exception as error:  # noqa: BLE001  (reported; the others go on)
        return f"{type(error).__name__}: {error}"
    return ""


def execute(
    jobs: Sequence[Job], workers: int = 1, scheduler: str | None = None
) -> Iterator[tuple[Job, str]]:
    """Do jobs, several at a time.

    Parameters
    ----------
    jobs : sequence of Job
        Independent of each other.
    workers : int
        Local processes, each with one thread; 1 works in this one.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers see the same cache.

    Yields
    ------
    Job, str
        Each as it ends, and its error, empty if there is none. What has ended is in the cache; an
        interrupt loses the jobs under way.
    """
    if scheduler is None and (workers == 1 or len(jobs) < 2):
        for job in jobs:
            yield job, _work(job)
        return
    for job, problem in map_tasks(_work, jobs, workers, scheduler):
        if isinstance(problem, Exception):
            problem = f"{type(problem).__name__}: {problem}"
        yield job, problem


def load_records(
    molecule: InputMolecule, methods: Sequence[Method], settings: EvaluateSettings, cache: Path
) -> dict[str, list[Record]]:
    """All runs of a molecule by the name of their method; methods that have none are left out."""
    records: dict[str, list[Record]] = {}
    for method in methods:
        paths = [
            record_path(Run(molecule, method, seed), settings, cache)
            for seed in range(settings.seeds)
        ]
        if all(path.exists() for path in paths):
            records[method.name] = [read_record(path) for path in paths]
    return records
