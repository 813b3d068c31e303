"""Baseline data from force fields: OpenMM trajectories of prepared molecules.

A trajectory is a Langevin equilibration from one conformer and then a chain of NVE segments, each
begun by a short Langevin run from the end of the segment before. Every part is one shard:
``equilibration/NAME.300K.0.npz`` and ``production/NAME.300K.0.0.npz``, ... (300 K, trajectory 0,
segment 0), so no shard of ``production`` spans a thermostat. Finished shards are never computed
again. A trajectory that explodes ends with its reason in ``manifest.json``; the others go on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from tqdm import tqdm

from kstep_training.manifest import open_manifest, write_manifest
from kstep_training.mm_dynamics import MMSettings, Run, equilibrate, segment
from kstep_training.mm_recorder import Exploded
from kstep_training.options import override
from kstep_training.prepared import prepared_folders, read_prepared
from kstep_training.trajectory import Trajectory, read_npz, write_npz

__all__ = ["run_simulate_mm", "simulate_mm"]


@dataclass(frozen=True)
class _Made:
    """What the shards of a folder are made with."""

    prep: dict[str, Any]
    simulate: MMSettings


@dataclass(frozen=True)
class _Job:
    molecule: Path
    made: _Made
    temperature: float
    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.molecule.name}.{self.temperature:g}K.{self.number}"


def _shard(path: Path, make: Callable[[], Trajectory]) -> Trajectory:
    if not path.exists():
        write_npz(path, make())
    # Also a new one is read back, so that going on is the same with and without an interruption.
    return read_npz(path)


def _task(job: _Job) -> tuple[str, dict[str, Any]]:
    segments = 0
    try:
        prepared = read_prepared(job.molecule)
        settings = job.made.simulate
        run = Run(prepared, job.made.prep, settings, job.temperature, job.number)
        path = job.folder / "equilibration" / f"{job.name}.npz"
        last = _shard(path, lambda: equilibrate(run))
        for index in range(settings.segments):
            path = job.folder / "production" / f"{job.name}.{index}.npz"
            before = last
            last = _shard(path, lambda: segment(run, before, index))  # noqa: B023  (called at once)
            segments += 1
    except Exploded as error:
        return job.name, {"status": "exploded", "reason": str(error), "segments": segments}
    except Exception as error:  # noqa: BLE001  (a worker reports; the others go on)
        reason = f"{type(error).__name__}: {error}"
        return job.name, {"status": "failed", "reason": reason, "segments": segments}
    return job.name, {"status": "done", "segments": segments}


def simulate_mm(
    prepared: str | Path, folder: str | Path, settings: MMSettings, workers: int = 1
) -> tuple[int, Iterator[tuple[str, dict[str, Any]]]]:
    """Simulate every molecule of a folder made by the stage ``prep``.

    Parameters
    ----------
    prepared : path
        Output of :func:`kstep_training.prepare.prepare`.
    folder : path
        Finished shards in it are kept and skipped, if they were made with the same settings.
    settings : MMSettings
    workers : int
        Processes, one trajectory each at a time.

    Returns
    -------
    total : int
        Number of trajectories.
    reports : iterator of (str, dict)
        Name and report of each trajectory as it ends; the reports are also kept in
        ``folder/manifest.json``. One that exploded is not tried again.

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the folder holds shards made with other settings.
    """
    prepared, folder = Path(prepared), Path(folder)
    molecules = prepared_folders(prepared)
    made = _Made(json.loads((prepared / "manifest.json").read_text())["settings"], settings)
    manifest = open_manifest(folder, made)
    for part in ("equilibration", "production"):
        (folder / part).mkdir(exist_ok=True)
    jobs = [
        _Job(molecule, made, temperature, number, folder)
        for molecule in molecules
        for temperature in settings.temperatures
        for number in range(settings.trajectories)
    ]
    return len(jobs), _each(jobs, folder, manifest, workers)


def _each(
    jobs: Sequence[_Job], folder: Path, manifest: dict[str, Any], workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    todo = []
    for job in jobs:
        known = manifest["molecules"].get(job.name, {"status": "new"})
        if known["status"] in ("done", "exploded"):
            yield job.name, known
        else:
            todo.append(job)
    if not todo:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers: small molecules gain nothing from more
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for name, report in pool.imap_unordered(_task, todo):
            manifest["molecules"][name] = report
            write_manifest(folder, manifest)
            yield name, report


def run_simulate_mm(source: Path, overrides: Sequence[str], output: Path, workers: int) -> None:
    """Simulate prepared molecules, with progress and problems on the console.

    Parameters
    ----------
    source : Path
        Folder made by ``kstep prep``.
    overrides : sequence of str
        ``key=value``, the fields of :class:`kstep_training.mm_dynamics.MMSettings`.
    output : Path
        Folder of the shards. Run again with the same folder, finished ones are kept.
    workers : int

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the settings or the folder cannot be used.
    """
    console = Console()
    total, reports = simulate_mm(source, output, override(MMSettings, overrides), workers)
    ended: Counter[str] = Counter()
    problems = []
    for name, report in tqdm(reports, total=total, desc="trajectories", file=sys.stdout):
        ended[report["status"]] += 1
        if report["status"] != "done":
            problems.append((report["status"], f"{name}: {report['reason']}"))
    for status, problem in problems:
        console.print(f"[yellow]{status}[/] {escape(problem)}", highlight=False, soft_wrap=True)
    console.print(
        f"{ended['done']} trajectories in {escape(str(output))}; {ended['exploded']} exploded, "
        f"{ended['failed']} failed",
        highlight=False,
        soft_wrap=True,
    )
