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
from kstep_training.inputs.models import model_identity, read_model
from kstep_training.inputs.molecules import InputMolecule, read_molecules
from kstep_training.inputs.physics import make_physics
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
        See :func:`~kstep_training.inputs.molecules.read_molecules`.
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
    given = read_molecules(molecules, cells=True)
    return evaluate(model, given, settings, output, cache, workers, scheduler)


def evaluate(
    model: str,
    molecules: Sequence[InputMolecule],
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
    make_physics(settings)
    read_model(model, molecules[0].atoms)
    cache = cache or output / "runs"
    for folder in (output, cache):
        folder.mkdir(parents=True, exist_ok=True)
    methods = make_methods(model, settings)
    bar = f"verlet-{settings.bar_fs:g}" if settings.length_ps else None
    problems = _make(molecules, methods, settings, cache, (workers, scheduler), console)

    rows, pictures = [], {}
    for molecule in molecules:
        with console.status(f"comparing {molecule.name}"):
            records = load_records(molecule, methods, settings, cache)
            if not records:
                continue
            metrics = molecule_metrics(molecule.name, records, methods, settings)
            rows.append(metrics)
            pictures[molecule.name] = draw_molecule(records, metrics, methods, settings, bar)
    if not rows:
        reason = next((why for of in problems.values() for why in of.values()), "no run ended")
        raise ValueError(f"nothing could be evaluated: {reason}")
    identity = model_identity(model)
    report = build_report(model, identity, rows, problems, settings, bar)
    files = [output / "evaluation.html", output / "evaluation.json"]
    write_html(files[0], report, draw_overview(report, settings), pictures)
    write_json(files[1], report)
    print_summary(console, report, files)
    return report


def _make(
    molecules: Sequence[InputMolecule],
    methods: Sequence[Method],
    settings: EvaluateSettings,
    cache: Path,
    places: tuple[int, str | None],
    console: Console,
) -> dict[str, dict[str, str]]:
    """Make the runs that are missing; the errors of those that fail, by molecule and method."""
    problems: dict[str, dict[str, str]] = {}
    starts, runs = jobs_of(molecules, methods, settings, cache)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("runs", total=sum(job.weight for job in (*starts, *runs)))
        for jobs in (starts, runs):
            left = [job for job in jobs if "start" not in problems.get(job.molecule.name, {})]
            for job, problem in execute(left, *places):
                name = "start" if job.method is None else job.method.name
                where = f"{job.molecule.name} {name}"
                bar.update(task, advance=job.weight, description=where)
                if problem:
                    problems.setdefault(job.molecule.name, {})[name] = problem
                    console.print(f"[yellow]failed[/] {where}: {escape(problem)}")
    return problems
