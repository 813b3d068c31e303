"""The command ``kstep evaluate``: plan, run, judge, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kstep_training.evaluate.execute import execute, jobs_of, load_records
from kstep_training.evaluate.metrics import molecule_metrics
from kstep_training.evaluate.page import draw_molecule, draw_overview, write_html
from kstep_training.evaluate.plan import Method, make_methods
from kstep_training.evaluate.report import build_report, write_json
from kstep_training.evaluate.screen import print_summary
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import (
    Target,
    calculator_factory,
    make_model,
    potential_identity,
    read_targets,
)
from kstep_training.options import override

__all__ = ["evaluate", "run_evaluate"]


def run_evaluate(
    model: str,
    molecules: str,
    overrides: Sequence[str],
    output: Path,
    cache: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Evaluate a model on some molecules, with progress and a summary on the console.

    Parameters
    ----------
    model : str
        Bundled name, model file, or cheap calculator.
    molecules : str
        See :func:`~kstep_training.evaluate.sources.read_targets`.
    overrides : sequence of str
        ``key=value``, the fields of :class:`EvaluateSettings`.
    output : Path
        Folder for ``evaluation.html`` and ``evaluation.json``.
    cache : Path, optional
        Folder that keeps runs, ``output/runs`` by default. Evaluations that share it share their
        references.
    workers : int
        Local processes.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers make the runs instead; they see the cache.

    Returns
    -------
    dict
        The content of ``evaluation.json``.

    Raises
    ------
    ValueError
        If the model, the molecules or the settings cannot be used, or nothing could be run.
    OSError
        If the folders cannot be written.
    """
    settings = override(EvaluateSettings, overrides)
    targets = read_targets(molecules)
    return evaluate(model, targets, settings, output, cache, workers, scheduler)


def evaluate(
    model: str,
    targets: Sequence[Target],
    settings: EvaluateSettings,
    output: Path,
    cache: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluate a model; parameters as of :func:`run_evaluate`."""
    console = console or Console()
    # Faults in what was asked for show before anything is run.
    calculator_factory(settings.physics)
    make_model(model, targets[0].atoms, False)
    cache = cache or output / "runs"
    for folder in (output, cache):
        folder.mkdir(parents=True, exist_ok=True)
    methods = make_methods(model, settings)
    bar = f"verlet-{settings.bar_fs:g}" if settings.length_ps else None
    problems = _make(targets, methods, settings, cache, (workers, scheduler), console)

    molecules, pictures = [], {}
    for target in targets:
        with console.status(f"comparing {target.name}"):
            records = load_records(target, methods, settings, cache)
            if not records:
                continue
            metrics = molecule_metrics(target.name, records, methods, settings)
            molecules.append(metrics)
            pictures[target.name] = draw_molecule(records, metrics, methods, settings, bar)
    if not molecules:
        reason = next((why for of in problems.values() for why in of.values()), "no run ended")
        raise ValueError(f"nothing could be evaluated: {reason}")
    identity = potential_identity(model)
    report = build_report(model, identity, molecules, problems, settings, bar)
    files = [output / "evaluation.html", output / "evaluation.json"]
    write_html(files[0], report, draw_overview(report, settings), pictures)
    write_json(files[1], report)
    print_summary(console, report, files)
    return report


def _make(
    targets: Sequence[Target],
    methods: Sequence[Method],
    settings: EvaluateSettings,
    cache: Path,
    places: tuple[int, str | None],
    console: Console,
) -> dict[str, dict[str, str]]:
    """Make the runs that are missing; the errors of those that fail, by molecule and method."""
    problems: dict[str, dict[str, str]] = {}
    starts, runs = jobs_of(targets, methods, settings, cache)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("runs", total=sum(job.weight for job in (*starts, *runs)))
        for jobs in (starts, runs):
            left = [job for job in jobs if "start" not in problems.get(job.target.name, {})]
            for job, problem in execute(left, *places):
                name = "start" if job.method is None else job.method.name
                bar.update(task, advance=job.weight, description=f"{job.target.name} {name}")
                if problem:
                    problems.setdefault(job.target.name, {})[name] = problem
                    console.print(f"[yellow]failed[/] {job.target.name} {name}: {escape(problem)}")
    return problems
