"""Execution of a plan: thermal starts, the runs from them, in processes, kept by their keys.

What is in the cache is never made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators import units
from kstep_integrators.files import atomic_file
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.potentials import Potential
from kstep_training.evaluate.controls import free_flight, langevin, velocity_verlet
from kstep_training.evaluate.counting import spot_check
from kstep_training.evaluate.jumps import jump_runs
from kstep_training.evaluate.plan import Method, Run, run_key, start_key
from kstep_training.evaluate.record import Record, read_record, write_record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import (
    Target,
    calculator_factory,
    make_model,
)
from kstep_training.tasks import map_tasks

__all__ = [
    "Job", "execute", "jobs_of", "load_records", "make_records", "record_path", "thermal_start",
]  # fmt: skip

STEP_FS, FRICTION_PER_FS = 0.5, 0.02


def thermal_start(
    target: Target, seed: int, settings: EvaluateSettings, cache: Path | None = None
) -> Atoms:
    """A molecule at temperature, without net momentum or rotation.

    Relaxed under the physics, then Langevin dynamics. Momenta alone would not do: from a minimum,
    half of the heat goes into the potential.

    Parameters
    ----------
    target : Target
    seed : int
        Number of the start.
    settings : EvaluateSettings
    cache : Path, optional
        Folder that keeps starts.

    Returns
    -------
    ase.Atoms
        Without a calculator.
    """
    key = start_key(target, seed, settings)
    path = None if cache is None else cache / f"{target.name}.start.{key}.npz"
    atoms = Atoms(target.atoms.numbers, positions=target.atoms.positions)
    atoms.set_masses(target.atoms.get_masses())
    atoms.info["charge"] = int(target.atoms.info.get("charge", 0))
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            atoms.positions = file["positions"]
            atoms.set_momenta(file["momenta"])
        return atoms
    rng = np.random.default_rng(int(key, 16))
    atoms.calc = calculator_factory(settings.physics)(atoms.copy())
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=200)
    thermalize_momenta(atoms, settings.temperature_K, rng=rng)
    bath = Langevin(
        atoms,
        STEP_FS * units.FS,
        temperature_K=settings.temperature_K,
        friction=FRICTION_PER_FS / units.FS,
        fixcm=False,
        rng=rng,
    )
    bath.run(round(1000.0 * settings.equilibration_ps / STEP_FS))
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    atoms.calc = None
    if path is not None:
        with atomic_file(path) as handle:
            np.savez(handle, positions=atoms.positions, momenta=atoms.get_momenta())
    return atoms


def make_records(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    """Run a method from several starts of one molecule.

    Parameters
    ----------
    method : Method
    starts : sequence of ase.Atoms
    settings : EvaluateSettings
    entropy : sequence of int
        Seed of the noise of each.

    Returns
    -------
    list of Record
        One for each start; a run that failed keeps what it has.
    """
    starts = [atoms.copy() for atoms in starts]
    for number, (atoms, seed) in enumerate(zip(starts, entropy, strict=True)):
        atoms.info["replica"] = number
        if method.part == "ensemble":
            rng = np.random.default_rng([seed, 1])
            thermalize_momenta(atoms, settings.temperature_K, rng=rng)
    if method.kind == "ballistic":
        return [free_flight(method, atoms) for atoms in starts]
    records = _with_physics(method, starts, settings, entropy)
    physics = calculator_factory(settings.physics)
    for atoms, record in zip(starts, records, strict=True):
        potential = _potential(method, atoms) if settings.spot_checks else None
        record.facts["spot"] = spot_check(record, atoms, physics, settings.spot_checks, potential)
    return records


def _with_physics(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    physics = calculator_factory(settings.physics)
    if method.kind == "verlet":
        return [velocity_verlet(method, atoms, physics) for atoms in starts]
    kelvin, friction_per_ps = settings.temperature_K, settings.friction_per_ps
    if method.kind == "langevin":
        return [
            langevin(
                method, atoms, physics, kelvin, friction_per_ps, np.random.default_rng([seed, 2])
            )
            for atoms, seed in zip(starts, entropy, strict=True)
        ]
    model = make_model(method.potential, starts[0], settings.compile)
    # A direct jump has a base step of its own.
    timestep = None if isinstance(model, DirectJump) else settings.timestep_fs * units.FS
    jump = make_jump(model, timestep)
    rng = np.random.default_rng([*entropy, 3])
    return jump_runs(method, jump, starts, physics, rng, _bath(method, settings))


def _bath(method: Method, settings: EvaluateSettings) -> dict[str, Any]:
    """Arguments of an ensemble for a constant temperature, if that is wanted."""
    if method.part != "ensemble":
        return {}
    friction = np.inf if method.metropolize else settings.friction_per_ps / units.PS
    bath: dict[str, Any] = {"temperature_K": settings.temperature_K, "friction": friction}
    return bath | ({"metropolize": True, "extra_chances": 0} if method.metropolize else {})


def _potential(method: Method, atoms: Atoms) -> Potential | None:
    """The potential of jumps that ask for forces; None if they have none, or it has no energy."""
    if method.kind != "jumps" or method.metropolize:
        return None
    model = make_model(method.potential, atoms, False)
    return None if isinstance(model, DirectJump) else model


@dataclass(frozen=True)
class Job:
    """Runs of one method from several starts of one molecule; without a method, the starts.

    Attributes
    ----------
    target : Target
    method : Method or None
    seeds : tuple of int
    settings : EvaluateSettings
    cache : Path
    """

    target: Target
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
    targets: Sequence[Target], methods: Sequence[Method], settings: EvaluateSettings, cache: Path
) -> tuple[list[Job], list[Job]]:
    """Jobs for all that is missing: starts, and runs from them.

    Returns
    -------
    starts, runs : list of Job
        Runs of every target only need its starts, and are independent of each other.
    """
    starts, runs = list[Job](), list[Job]()
    for target in targets:
        needed = set[int]()
        for method in methods:
            seeds = tuple(
                seed
                for seed in range(settings.seeds)
                if not record_path(Run(target, method, seed), settings, cache).exists()
            )
            needed |= set(seeds)
            if seeds:
                runs.append(Job(target, method, seeds, settings, cache))
        starts += [Job(target, None, (seed,), settings, cache) for seed in sorted(needed)]
    return starts, runs


def _work(job: Job) -> str:
    """Do a job, and return its error, or an empty text."""
    torch.set_num_threads(1)
    try:
        starts = [thermal_start(job.target, s, job.settings, job.cache) for s in job.seeds]
        if job.method is None:
            return ""
        runs = [Run(job.target, job.method, seed) for seed in job.seeds]
        entropy = [int(run_key(run, job.settings), 16) for run in runs]
        records = make_records(job.method, starts, job.settings, entropy)
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
    target: Target, methods: Sequence[Method], settings: EvaluateSettings, cache: Path
) -> dict[str, list[Record]]:
    """All runs of a molecule by the name of their method; methods that have none are left out."""
    records: dict[str, list[Record]] = {}
    for method in methods:
        paths = [
            record_path(Run(target, method, seed), settings, cache)
            for seed in range(settings.seeds)
        ]
        if all(path.exists() for path in paths):
            records[method.name] = [read_record(path) for path in paths]
    return records
