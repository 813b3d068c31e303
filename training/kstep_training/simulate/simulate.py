"""The stage ``simulate``: baseline trajectories of prepared molecules.

A trajectory is a Langevin equilibration from one conformer and then a chain of segments: of NVE,
each begun by a short Langevin run from the end of the segment before, or of Langevin dynamics.
Every part is one shard: ``equilibration/NAME.300K.0.npz``, ``production/NAME.300K.0.0.npz``, ...
(300 K, trajectory 0, segment 0), so no NVE shard spans a thermostat, and
``distorted/NAME.300K.0.npz`` where distorted copies are asked for. Finished shards are never
computed again. A trajectory that becomes unphysical, breaks a bond, or whose SCF fails ends with
its reason in ``manifest.json``; the others go on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kstep_training.inputs.physics import make_physics
from kstep_training.manifest import open_manifest
from kstep_training.options import override
from kstep_training.prep.prepared import prepared_folders, read_prepared
from kstep_training.progress import followed
from kstep_training.reported_tasks import reported_tasks
from kstep_training.simulate.engine import Run, TrajectoryEnded
from kstep_training.simulate.parts import distorted, equilibrate, segment
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.trajectory import Trajectory, read_npz, write_npz

__all__ = ["run_simulate", "simulate"]


@dataclass(frozen=True)
class _Made:
    """Settings that the shards of a folder are made with, and the code of a user's physics."""

    prep: dict[str, Any]
    simulate: SimulateSettings
    function: str | None = None


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


def _task(job: _Job) -> dict[str, Any]:
    """Make the missing shards of one trajectory, in a worker; report how it ended."""
    settings = job.made.simulate
    report: dict[str, Any] = {"status": "done", "segments": 0, "frames": 0}
    parts = {stage: job.folder / stage for stage in ("equilibration", "production", "distorted")}
    try:
        run = Run(
            read_prepared(job.molecule),
            job.made.prep,
            settings,
            job.temperature,
            job.number,
            job.folder / "failed" / job.name,
        )
        production: list[Trajectory] = []
        try:
            first = _shard(parts["equilibration"] / f"{job.name}.npz", lambda: equilibrate(run))
            last, start = first, first.positions[0]
            for index in range(settings.segments):
                last = _shard(
                    parts["production"] / f"{job.name}.{index}.npz",
                    lambda: segment(run, start, last, index),  # noqa: B023  (called at once)
                )
                production.append(last)
                report["segments"] += 1
                report["frames"] += len(last)
        except TrajectoryEnded as error:
            report |= {"status": "ended", "reason": str(error)}
        if settings.distorted_fraction and production:
            path = parts["distorted"] / f"{job.name}.npz"
            copies = None if path.exists() else distorted(run, production)
            if copies is not None:
                write_npz(path, copies)
    except Exception as error:  # noqa: BLE001  (a worker reports; the others go on)
        report |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return report


def simulate(
    prepared: str | Path,
    folder: str | Path,
    settings: SimulateSettings,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[int, Iterator[tuple[str, dict[str, Any]]]]:
    """Simulate every molecule of a folder made by the stage ``prep``.

    Parameters
    ----------
    prepared : path
        Output of :func:`kstep_training.prepare.prepare`.
    folder : path
        Finished shards in it are kept and skipped, if they were made with the same settings.
    settings : SimulateSettings
    workers : int
        Local processes, one trajectory each at a time.
    scheduler : str, optional
        Address of a Dask cluster, whose workers take the place of the local processes. They see
        both folders under the same paths.

    Returns
    -------
    total : int
        Number of trajectories.
    reports : iterator of (str, dict)
        Name and report of each trajectory as it ends; the reports are also kept in
        ``folder/manifest.json``. One that ended early is not tried again; one that failed is.

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the folder holds shards made with other settings, or force-field dynamics is asked of
        molecules that were prepared without a force field.
    ConnectionError
        While iterating, if the scheduler does not answer or goes away.
    """
    prepared, folder = Path(prepared).resolve(), Path(folder).resolve()
    molecules = prepared_folders(prepared)
    prep = json.loads((prepared / "manifest.json").read_text())
    if settings.physics == "mm" and prep["settings"]["forcefield"] is None:
        raise ValueError(
            f"physics=mm, but the molecules in {prepared} were prepared without a force field "
            "(forcefield=null); choose another physics, or prepare them with forcefield=mmff94"
        )
    function = make_physics(settings).identity if ":" in settings.physics else None
    made = _Made(prep["settings"], settings, function)
    manifest = open_manifest(folder, made)
    for part in ("equilibration", "production", "distorted"):
        if part != "distorted" or settings.distorted_fraction:
            (folder / part).mkdir(exist_ok=True)
    # The largest first, so that no worker is left alone with one at the end.
    molecules.sort(key=lambda path: -prep["molecules"].get(path.name, {}).get("atoms", 0))
    jobs = [
        _Job(molecule, made, temperature, number, folder)
        for molecule in molecules
        for temperature in settings.temperatures
        for number in range(settings.trajectories)
    ]
    return len(jobs), _each(jobs, folder, manifest, workers, scheduler)


def _each(
    jobs: Sequence[_Job],
    folder: Path,
    manifest: dict[str, Any],
    workers: int,
    scheduler: str | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    todo = []
    for job in jobs:
        known = manifest["molecules"].get(job.name, {"status": "new"})
        if known["status"] in ("done", "ended"):
            yield job.name, known
        else:
            todo.append(job)
    nothing = {"segments": 0, "frames": 0}
    yield from reported_tasks(
        _task, todo, folder, manifest, workers, scheduler, "molecules", nothing
    )


def run_simulate(
    source: Path,
    overrides: Sequence[str],
    output: Path | None,
    workers: int,
    scheduler: str | None = None,
) -> None:
    """Simulate prepared molecules, with progress and problems on the console.

    Parameters
    ----------
    source : Path
        Folder made by ``kstep prep``.
    overrides : sequence of str
        ``key=value``, the fields of
        :class:`kstep_training.simulate.settings.SimulateSettings`.
    output : Path or None
        Folder of the shards, by default ``SOURCE_PHYSICS``. Run again with the same folder,
        finished ones are kept.
    workers : int
    scheduler : str, optional

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the settings or the folder cannot be used.
    ConnectionError
        If the scheduler does not answer.
    """
    console = Console()
    settings = override(SimulateSettings, overrides)
    output = output or Path(f"{source.resolve().name}_{settings.physics.replace(':', '_')}")
    total, reports = simulate(source, output, settings, workers, scheduler)
    ended: Counter[str] = Counter()
    frames, problems = 0, []
    for name, report in followed(reports, "trajectories", total):
        ended[report["status"]] += 1
        frames += report["frames"]
        if report["status"] != "done":
            problems.append((report["status"], f"{name}: {report['reason']}"))
    for status, problem in problems:
        console.print(f"[yellow]{status}[/] {escape(problem)}", highlight=False, soft_wrap=True)
    console.print(
        f"{ended['done']} trajectories done in {escape(str(output))}, {ended['ended']} ended "
        f"early, {ended['failed']} failed; {frames} frames of production",
        highlight=False,
        soft_wrap=True,
    )
