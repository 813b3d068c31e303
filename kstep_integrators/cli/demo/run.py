"""The demonstration: a molecule under GFN2-xTB, with and without jumps.

From one thermalized start, velocity Verlet at 0.5 and 1 fs, k-step dynamics, and the potential
alone (if the model is one, and makes no direct jumps) run for the same simulated time, each with a
calculator that counts its own evaluations.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.io.trajectory import Trajectory
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kstep_integrators import DirectJump, KStepDynamics, NetworkPotential, load_model
from kstep_integrators.cli.demo.break_even import break_even
from kstep_integrators.cli.demo.records import Recorder, RunRecord
from kstep_integrators.cli.demo.report import print_report, write_json
from kstep_integrators.cli.demo.start import DemoSettings, gfn2, load_molecule, thermalize
from kstep_integrators.models.molecules import bonded_pairs
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.units import FS

__all__ = ["run_demo"]

_VERLET_FS: Final = (0.5, 1.0)


def run_demo(settings: DemoSettings, console: Console | None = None) -> dict[str, Any]:
    """Run the demonstration, print its table and write its files.

    Parameters
    ----------
    settings : DemoSettings
        What to run.
    console : rich.console.Console, optional
        Where to print.

    Returns
    -------
    dict
        What ``demo.json`` holds.
    """
    console = console or Console()
    start = load_molecule(settings)
    calculator = gfn2(start)
    model = load_model(settings.model, compile=settings.compile)
    settings.output.mkdir(parents=True, exist_ok=True)
    title = f"{settings.value}, GFN2-xTB, {settings.time_fs / 1000:g} ps at "
    title += f"{settings.temperature_K:g} K"
    title += ", jumps in OpenMM" if settings.engine == "openmm" else ""

    stride = settings.stride_fs
    with console.status("relaxing and thermalizing"):
        start.calc = calculator
        relaxed = thermalize(start, settings)
    with console.status("compiling and warming up the model"):
        began = time.perf_counter()
        runs = _runs(model, stride)
        _jumps(_fresh(start), model, settings, runs[0][0]).run(2)
        warm_up = time.perf_counter() - began

    simulated = settings.n_jumps * stride
    columns = (TextColumn("{task.description:<15}"), BarColumn(), TimeElapsedColumn())
    records: list[RunRecord] = []
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        for step_fs in _VERLET_FS:
            atoms = _fresh(start)
            verlet = VelocityVerlet(atoms, timestep=step_fs * FS)
            interval = max(1, round(stride / step_fs))
            steps = max(1, round(simulated / step_fs / interval)) * interval
            recorder = Recorder(f"Verlet {step_fs:g} fs", step_fs, step_fs * FS * interval)
            records.append(_run(verlet, recorder, steps, interval, progress))
        for number, (corrector, name) in enumerate(runs):
            atoms = _fresh(start)
            path = None if number else settings.output / "trajectory.traj"
            recorder = Recorder(name, stride, stride * FS)
            records.append(_run_jumps(atoms, model, settings, corrector, recorder, progress, path))

    balance = break_even(records[0], records[2])
    print_report(console, title, records, balance, warm_up)
    report = write_json(
        settings.output / "demo.json",
        records,
        balance,
        {
            "molecule": start.get_chemical_formula(),
            "settings": {
                key: str(value) if isinstance(value, Path) else value
                for key, value in vars(settings).items()
            },
            "warm_up_seconds": warm_up,
            "versions": _versions(),
        },
    )
    # Imported here, so that nobody waits for matplotlib before the first progress bar.
    from kstep_integrators.cli.demo.picture import draw

    draw(settings.output / "demo.png", title, records, bonded_pairs(relaxed))
    console.print(f"Wrote trajectory.traj, demo.json and demo.png to {settings.output}")
    return report


def _runs(model: NetworkPotential | DirectJump, stride_fs: float) -> list[tuple[str, str]]:
    """Corrector and name of each run with jumps; the first is the one that counts."""
    if isinstance(model, DirectJump):
        return [(model.correctors[0], f"direct {stride_fs:g} fs")]
    return [("impulse", f"k-step {stride_fs:g} fs"), ("none", "potential only")]


def _fresh(start: Atoms) -> Atoms:
    """The start once more, with a calculator of its own that has counted nothing."""
    atoms: Atoms = start.copy()
    atoms.calc = CountingCalculator(gfn2(atoms))
    return atoms


def _jumps(atoms: Atoms, model: Any, settings: DemoSettings, corrector: str) -> KStepDynamics:
    rng = np.random.default_rng(settings.seed)
    timestep = settings.timestep_fs * FS
    return KStepDynamics(
        atoms, model, k=settings.k, timestep=timestep, corrector=corrector, rng=rng
    )


def _run_jumps(
    atoms: Atoms,
    model: Any,
    settings: DemoSettings,
    corrector: str,
    recorder: Recorder,
    progress: Progress,
    path: Path | None,
) -> RunRecord:
    """Jumps in ASE or in OpenMM, sampled at every one, with a trajectory if there is a path."""
    if settings.engine == "openmm":
        # It imports OpenMM, which is optional.
        from kstep_integrators.cli.demo.openmm_run import run_in_openmm

        task = progress.add_task(recorder.name, total=settings.n_jumps)
        return run_in_openmm(
            atoms, model, settings, corrector, recorder, lambda: progress.advance(task), path
        )
    dynamics = _jumps(atoms, model, settings, corrector)
    if path is None:
        return _run(dynamics, recorder, settings.n_jumps, 1, progress)
    with Trajectory(path, "w", atoms) as writer:
        dynamics.attach(writer.write)
        return _run(dynamics, recorder, settings.n_jumps, 1, progress)


def _run(
    dynamics: MolecularDynamics, recorder: Recorder, steps: int, interval: int, progress: Progress
) -> RunRecord:
    """Run with a progress bar, sampling the first frame and then one in every `interval`."""
    task = progress.add_task(recorder.name, total=steps // interval)

    def sample() -> None:
        recorder.sample(dynamics.atoms, dynamics.atoms.calc.evaluations)
        progress.update(task, completed=recorder.n_frames - 1)

    dynamics.attach(sample, interval=interval)
    began = time.perf_counter()
    dynamics.run(steps)
    seconds = time.perf_counter() - began
    counter = dynamics.atoms.calc
    cost = {"evaluations": counter.evaluations, "physics_seconds": counter.seconds}
    if not isinstance(dynamics, KStepDynamics):
        return recorder.finish(dynamics.atoms, seconds=seconds, **cost)
    return recorder.finish(
        dynamics.atoms,
        seconds=seconds,
        **cost,
        jump_seconds=dynamics.stats.jump_seconds,
        residual_rms=dynamics.stats.residual_rms,
        fallbacks=dynamics.stats.fallbacks,
    )


def _versions() -> dict[str, str]:
    packages = ("kstep-integrators", "ase", "openmm", "tblite", "torch", "numpy")
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
