"""Tasks whose reports are kept in the manifest of their folder as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kstep_training.manifest import add_reports
from kstep_training.tasks import map_tasks

__all__ = ["Named", "reported_tasks"]


class Named(Protocol):
    """A job by the name of its report."""

    @property
    def name(self) -> str:
        """The only one of this name in its folder."""
        ...


Job = TypeVar("Job", bound=Named)


def reported_tasks(
    task: Callable[[Job], dict[str, Any]],
    jobs: Sequence[Job],
    folder: Path,
    manifest: dict[str, Any],
    workers: int,
    scheduler: str | None,
    key: str,
    nothing: Mapping[str, int],
    at_once: int = 1,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run tasks, write what they report, and report those whose worker was lost as failed.

    Parameters
    ----------
    task : callable
        Of a job; returns its report.
    jobs : sequence of Named
    folder : Path
        Of the manifest.
    manifest : dict
        Takes the reports.
    workers : int
        Local processes.
    scheduler : str or None
        Address of a Dask cluster in their place.
    key : str
        Of the reports in the manifest.
    nothing : mapping
        Counts of a task that was lost, all zero.
    at_once : int
        Reports between two entries in the manifest; those that are left are entered in any case.

    Yields
    ------
    str, dict
        Name and report, as they end.

    Raises
    ------
    ConnectionError
        If the scheduler does not answer or goes away.
    """
    ended: dict[str, Any] = {}
    entered = 0
    try:
        for job, result in map_tasks(task, jobs, workers, scheduler):
            if isinstance(result, Exception):
                reason = f"{type(result).__name__}: {result}"
                result = {"status": "failed", "reason": reason, **nothing}
            ended[job.name] = result
            if len(ended) - entered >= at_once:
                add_reports(folder, manifest, ended, key)
                entered = len(ended)
            yield job.name, result
    finally:
        if len(ended) > entered:
            add_reports(folder, manifest, ended, key)
