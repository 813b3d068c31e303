"""The demonstration: a molecule under GFN2-xTB, with and without jumps.

From one thermalized start, velocity Verlet at 0.5 and 1 fs, k-step dynamics, and the potential
alone (if the model is one, and makes no direct jumps) run for the same simulated time, each with a
calculator that counts its own evaluations.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kstep_integrators import NetworkPotential, load_model
from kstep_integrators.models.molecules import bonded_pairs
from kstep_training.demo.averaging import averaging_cost
from kstep_training.demo.learn import run_learning_demo
from kstep_training.demo.plan import make_methods, warm_up_method
from kstep_training.demo.report import break_even, print_report, write_json
from kstep_training.demo.runs import make_run, make_runs
from kstep_training.demo.settings import DemoSettings
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import thermal_start

__all__ = ["run_demo"]

_PHYSICS: Final = "GFN2-xTB"


def run_demo(settings: DemoSettings, console: Console | None = None) -> dict[str, Any]:
    """Run the demonstration, print its table and write its files.

    Parameters
    ----------
    settings : DemoSettings
    console : rich.console.Console, optional
        Where to print.

    Returns
    -------
    dict
        The content of ``demo.json``.

    Raises
    ------
    ValueError
        If there is no such molecule or model, or the model cannot make such jumps.
    ImportError
        If a package is missing that this molecule or engine needs.
    DynamicsFailed
        If a run does not come to its end.
    """
    if settings.learn:
        return run_learning_demo(settings, console)
    # Threads only slow a small molecule down; tblite reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = console or Console()
    molecule = read_molecule(settings.molecule)
    physics = make_physics(_PHYSICS)
    model = load_model(settings.model, backend=settings.backend)
    methods = make_methods(model, settings)
    settings.output.mkdir(parents=True, exist_ok=True)
    title = f"{settings.molecule}, {_PHYSICS}, {settings.time_fs / 1000:g} ps at "
    title += f"{settings.temperature_K:g} K"
    title += ", jumps in OpenMM" if settings.engine == "openmm" else ""

    with console.status("relaxing and thermalizing"):
        atoms = molecule.atoms.copy()
        atoms.calc = physics(molecule.atoms)
        rng = np.random.default_rng(settings.seed)
        start = thermal_start(atoms, settings.temperature_K, rng, name=molecule.name)
    with console.status("compiling and warming up the model"):
        began = time.perf_counter()
        short = warm_up_method(methods[2], settings)
        make_run(short, start.atoms, model, physics, settings)
        warm_up = time.perf_counter() - began
    columns = (TextColumn("{task.description:<15}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        runs = make_runs(methods, start.atoms, model, physics, settings, progress)

    balance = break_even(runs[0], runs[2])
    averaging = None
    if isinstance(model, NetworkPotential):
        averaging = averaging_cost(model, start.atoms)
    print_report(console, title, runs, balance, warm_up, averaging)
    details = {
        "molecule": molecule.atoms.get_chemical_formula(),
        "settings": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(settings).items()
        },
        "warm_up_seconds": warm_up,
        "mollified_at_8_fs": None
        if averaging is None
        else {"kick_seconds": averaging.kick, "force_seconds": averaging.force},
    }
    report = write_json(settings.output / "demo.json", runs, balance, details)
    # Imported here, so that nobody waits for matplotlib before the first progress bar.
    from kstep_training.demo.picture import draw

    draw(settings.output / "demo.png", title, runs, bonded_pairs(start.relaxed))
    console.print(f"Wrote trajectory.traj, demo.json and demo.png to {settings.output}")
    return report
