"""``kstep demo --learn``: a molecule that the model was not fitted to, learned while it runs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from kstep_integrators import AdaptedPotential, Learning, NetworkPotential, load_model
from kstep_integrators.units import FS, MEV
from kstep_training.demo.learned_runs import LearnedRun, followed_run
from kstep_training.demo.settings import DemoSettings
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import thermal_start

__all__ = ["blocks", "run_learning_demo"]

_PHYSICS = "GFN2-xTB"
_ENDS = (10, 20, 40, 80, 160, 320, 640)
"""Labels at which lines of the table end."""


def run_learning_demo(settings: DemoSettings, console: Console | None = None) -> dict[str, Any]:
    """Run the demonstration, print its table and write its files.

    Parameters
    ----------
    settings : DemoSettings
        With ``learn``.
    console : rich.console.Console, optional
        Where to print.

    Returns
    -------
    dict
        The content of ``demo.json``.

    Raises
    ------
    ValueError
        If there is no such molecule or model, or the model makes direct jumps.
    DynamicsFailed
        If a run does not come to its end.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = console or Console()
    molecule, physics = read_molecule(settings.molecule), make_physics(_PHYSICS)
    model = load_model(settings.model, device="cpu", backend=settings.backend)
    if not isinstance(model, NetworkPotential):
        raise ValueError(
            f"model is {settings.model!r}, which makes direct jumps; expected a potential, whose "
            "forces can be learned"
        )
    settings.output.mkdir(parents=True, exist_ok=True)
    with console.status("relaxing and thermalizing"):
        atoms = molecule.atoms.copy()
        atoms.calc = physics(molecule.atoms)
        rng = np.random.default_rng(settings.seed)
        start = thermal_start(atoms, settings.temperature_K, rng, name=molecule.name)
    labels = settings.output / "labels.traj"
    labels.unlink(missing_ok=True)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn())
    runs = list[LearnedRun]()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        for name, learn in (
            ("learning", Learning(refit=False, file=labels)),
            ("base not adapted", False),
        ):
            task = progress.add_task(name, total=settings.time_fs)
            here = start.atoms.copy()
            here.calc = physics(molecule.atoms)
            run, dynamics = followed_run(
                name,
                here,
                model,
                learn,
                settings.time_fs,
                lambda now, task=task: progress.update(task, completed=now),  # type: ignore[misc]
                k=settings.k,
                timestep=settings.timestep_fs * FS,
                trajectory=settings.output / "trajectory.traj" if learn else None,
            )
            runs.append(run)
            if isinstance(dynamics.potential, AdaptedPotential):
                dynamics.potential.save(settings.output / f"{molecule.name}.safetensors")
    title = f"{molecule.name}, {settings.model} learning {_PHYSICS} while it runs, "
    title += f"{settings.time_fs:g} fs at {settings.temperature_K:g} K"
    _print(console, title, runs)
    report = {
        "molecule": molecule.atoms.get_chemical_formula(),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings), default=str)),
        "blocks": blocks(*runs),
        "runs": [run.summary() for run in runs],
    }
    (settings.output / "demo.json").write_text(json.dumps(report, indent=2) + "\n")
    # Imported here, so that nobody waits for matplotlib before the first progress bar.
    from kstep_training.demo.learning_picture import draw_learning

    draw_learning(settings.output / "demo.png", title, runs)
    console.print(
        f"Wrote demo.png, demo.json, trajectory.traj, labels.traj and {molecule.name}.safetensors "
        f"to {settings.output}",
        highlight=False,
    )
    return report


def blocks(learning: LearnedRun, base: LearnedRun) -> list[dict[str, Any]]:
    """Residuals of blocks of landings, eV/angstrom, and the stride at the end of each.

    Parameters
    ----------
    learning, base : LearnedRun
    """
    rows, first = [], 0
    for end in (*_ENDS, len(learning.residual)):
        last = min(end, len(learning.residual))
        if last <= first:
            continue
        rows.append(
            {
                "labels": last,
                "residual": _rms(learning.residual[first:last]),
                "of_base": _rms(base.residual[first:last]),
                "stride_fs": float(learning.stride_fs[last - 1]),
                "time_fs": float(learning.time[last]),
            }
        )
        first = last
    return rows


def _rms(values: Any) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


def _print(console: Console, title: str, runs: Sequence[LearnedRun]) -> None:
    learning, base = runs
    table = Table(title=title)
    for heading in ("labels\nup to", "time\nfs", "stride\nfs", "residual\nmeV/A", "base's\nmeV/A"):
        table.add_column(heading, justify="right")
    for row in blocks(learning, base):
        cells = [row["residual"], row["of_base"]]
        table.add_row(
            f"{row['labels']}",
            f"{row['time_fs']:.0f}",
            f"{row['stride_fs']:g}",
            *("-" if cell is None else f"{cell / MEV:.0f}" for cell in cells),
        )
    console.print(table)
    outside = learning.seconds - learning.physics_seconds - learning.jump_seconds
    labels = len(learning.residual)
    apart = ""
    if learning.record_evaluations:
        apart = f", and {learning.record_evaluations} for the energies of this record alone"
    for line in (
        f"Residuals are of landings whose label has not been learned yet; base: {base.name}, in a "
        "run of its own.",
        f"Fluctuation of the total energy, second half: {learning.late_drift.fluctuation:.2f} "
        f"meV/atom learning, {base.late_drift.fluctuation:.2f} with the {base.name}.",
        f"{learning.evaluations} evaluations, no dataset{apart}; "
        f"{1e3 * outside / labels:.0f} ms for each label to be learned, "
        f"{1e3 * learning.jump_seconds / labels:.0f} ms for its jump. A run "
        "with refits beside it goes further.",
    ):
        console.print(line, highlight=False)
