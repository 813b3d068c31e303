"""The stage ``label``: frames of trajectories with an observable that quantum chemistry computes.

A folder of labels holds ``manifest.json`` (the settings, and how each part ended) and
``parts/TRAJECTORY.NUMBER.npz``, the labelled frames of a part of a trajectory: ``numbers`` (N,),
``positions`` (F, N, 3) angstrom, ``frame`` (F,) places in the trajectory, ``time_fs`` (F,),
``trajectory`` and ``kind``, its name and what it is of, and the arrays of the kind of labels. A
finished part is never made again while its frames are the same. A frame that cannot be labelled is
left out and named in the manifest; a part fails if all of its frames do, and is then tried again by
the next call.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from kstep_integrators.files import atomic_file
from kstep_integrators.notices import KStepWarning
from kstep_training.manifest import open_manifest
from kstep_training.observables.labels.kept_labels import refuse_other_labels
from kstep_training.observables.labels.kinds import find_kind
from kstep_training.observables.labels.parts import TrajectoryPart, cut_trajectories
from kstep_training.observables.labels.settings import LabelSettings
from kstep_training.options import override
from kstep_training.progress import followed
from kstep_training.reported_tasks import reported_tasks

__all__ = ["label", "run_label"]


@dataclass(frozen=True)
class _Made:
    """Settings that the labels of a folder are made with."""

    kind: str
    label: LabelSettings


@dataclass(frozen=True)
class _Job:
    part: TrajectoryPart
    made: _Made
    path: Path

    @property
    def name(self) -> str:
        return self.part.name


def _task(job: _Job) -> dict[str, Any]:
    """Label the frames of a part, in a worker; report how it ended."""
    part = job.part
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", KStepWarning)
        arrays, failures = find_kind(job.made.kind).function(
            part.frames, job.made.label, part.reference
        )
    said = {str(one.message): None for one in raised if issubclass(one.category, KStepWarning)}
    left_out = {str(part.places[place]): reason for place, reason in failures.items()}
    count = len(part.frames) - len(failures)
    report = {"sha256": part.digest, "frames": count, "warnings": [*said]}
    if len(failures) == len(part.frames):
        reason = "; ".join(dict.fromkeys(failures.values()))
        return {"status": "failed", "reason": reason, **report, "left_out": left_out}
    kept = [place for place in range(len(part.frames)) if place not in failures]
    common = {
        "numbers": part.reference.numbers.astype(np.int64),
        "positions": np.array([part.frames[place].positions for place in kept]),
        "frame": part.places[kept].astype(np.int64),
        "time_fs": part.time_fs[kept],
        "trajectory": np.array(part.trajectory),
    }
    with atomic_file(job.path) as handle:
        np.savez_compressed(handle, **common, **arrays)
    return {"status": "done", **report, "left_out": left_out}


def label(
    kind: str,
    trajectories: Sequence[str | Path],
    folder: str | Path,
    settings: LabelSettings,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[int, Iterator[tuple[str, dict[str, Any]]]]:
    """Label frames of trajectories.

    Parameters
    ----------
    kind : str
        ``couplings`` or ``xanes``.
    trajectories : sequence of path
        Files that ASE reads, or NPZ shards of ``kstep simulate``.
    folder : path
        Finished parts in it are kept and skipped, if they were made with the same settings.
    settings : LabelSettings
        Of the kind.
    workers : int
        Local processes, one part each at a time.
    scheduler : str, optional
        Address of a Dask cluster, whose workers take the place of the local processes. They see
        the folder under the same path.

    Returns
    -------
    total : int
        Number of parts.
    reports : iterator of (str, dict)
        Name and report of each part as it ends; the reports are also kept in
        ``folder/manifest.json``.

    Raises
    ------
    FileNotFoundError
        If a trajectory is missing.
    TypeError
        If the settings are of another kind.
    ValueError
        If a trajectory cannot be labelled, or the folder holds labels made with other settings, by
        an earlier version, or of another trajectory of the same name.
    ConnectionError
        While iterating, if the scheduler does not answer or goes away.
    """
    expected = find_kind(kind).settings
    if not isinstance(settings, expected):
        raise TypeError(
            f"settings of {kind} are a {type(settings).__name__}, expected {expected.__name__}"
        )
    if not trajectories:
        raise ValueError(
            "no trajectories are given; name files that ASE reads, such as run.traj of kstep run"
        )
    folder = Path(folder).resolve()
    parts = cut_trajectories([Path(path) for path in trajectories], settings)
    made = _Made(kind, settings)
    manifest = open_manifest(folder, made, reports="parts")
    (folder / "parts").mkdir(exist_ok=True)
    jobs = [_Job(part, made, folder / "parts" / f"{part.name}.npz") for part in parts]
    todo = [job for job in jobs if not _finished(job, manifest)]
    refuse_other_labels(folder, kind, manifest, [job.part for job in todo])
    return len(jobs), _each(jobs, todo, folder, manifest, workers, scheduler)


def _finished(job: _Job, manifest: dict[str, Any]) -> bool:
    """True if a part is labelled already. The last one of a trajectory that has grown is not."""
    known = manifest["parts"].get(job.part.name, {"status": "new"})
    same = known["status"] == "done" and known["sha256"] == job.part.digest
    return same and job.path.exists()


def _each(
    jobs: Sequence[_Job],
    todo: Sequence[_Job],
    folder: Path,
    manifest: dict[str, Any],
    workers: int,
    scheduler: str | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    waiting = {job.part.name for job in todo}
    for job in jobs:
        if job.part.name not in waiting:
            yield job.part.name, manifest["parts"][job.part.name]
    yield from reported_tasks(
        _task, todo, folder, manifest, workers, scheduler, "parts", {"frames": 0}
    )


def run_label(
    kind: str,
    trajectories: Sequence[Path],
    overrides: Sequence[str],
    output: Path,
    workers: int,
    scheduler: str | None = None,
) -> None:
    """Label frames, with progress and problems on the console.

    Parameters
    ----------
    kind : str
    trajectories : sequence of Path
    overrides : sequence of str
        ``key=value``, the fields of the settings of the kind.
    output : Path
        Run again with the same folder, finished parts are kept.
    workers : int
    scheduler : str, optional

    Raises
    ------
    FileNotFoundError, ValueError, ConnectionError
        As for :func:`label`.
    """
    console = Console()
    settings = override(find_kind(kind).settings, overrides)
    total, reports = label(kind, trajectories, output, settings, workers, scheduler)
    frames, failed, problems = 0, 0, []
    for name, report in followed(reports, "parts", total):
        if report["status"] == "failed":
            failed += 1
            problems.append(f"{name} failed: {report['reason']}")
            continue
        frames += report["frames"]
        problems += [f"{name}: {text}" for text in report["warnings"]]
        for frame, reason in report["left_out"].items():
            problems.append(f"frame {frame} of {name} left out: {reason}")
    for problem in problems:
        console.print(f"[yellow]{escape(problem)}[/]", highlight=False, soft_wrap=True)
    console.print(
        f"{frames} frames labelled in {escape(str(output))}; {total - failed} parts done, "
        f"{failed} failed",
        highlight=False,
        soft_wrap=True,
    )
