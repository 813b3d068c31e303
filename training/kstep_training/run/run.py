"""The stage ``run``: a molecule moved by the jumps of a model, under any physics.

A folder holds ``start.json`` (the relaxed geometry with momenta), ``equilibration.ckpt`` and
``.log``, ``run.traj``, ``run.log`` and ``run.ckpt``, ``manifest.json`` (model, molecule and
settings), and at the end ``run.npz`` and ``summary.json``. The same command goes on where it
stopped, and with a greater ``length_ps`` where it had ended.

A run that learns does so in its equilibration already. Its labels are in ``run.labels.traj`` and
``equilibration.labels.traj``; at the end its potential is in a model file named after the molecule,
and how it has learned in ``learning.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths
from ase.md.velocitydistribution import thermalize_momenta
from rich.console import Console
from rich.markup import escape

from kstep_integrators import DynamicsFailed, KStepDynamics, Learning, load_model
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.files import write_text_atomically
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.units import FS, PS
from kstep_training.inputs.start import bring_to_rest
from kstep_training.manifest import open_manifest, write_manifest
from kstep_training.options import override
from kstep_training.progress import progress_bar
from kstep_training.run.integrator import integrator_arguments
from kstep_training.run.learning import (
    base_of,
    learning_after,
    save_learned,
    write_learning,
)
from kstep_training.run.record import mark_frame, read_run, summarize, unmark_frame
from kstep_training.run.settings import RunSettings
from kstep_training.run.start import RunInputs, contents_of, kept_start, read_inputs
from kstep_training.trajectory import write_npz

__all__ = ["RunSettings", "dynamics_run", "run_dynamics"]


@dataclass(frozen=True)
class _Made:
    """Model, molecule and settings that a folder was made with, and what files of theirs held."""

    model: str
    molecule: str
    run: RunSettings
    contents: dict[str, str]


@dataclass(frozen=True)
class _Job:
    inputs: RunInputs
    start: Atoms
    settings: RunSettings
    folder: Path

    @property
    def stride_fs(self) -> float:
        return float(self.settings.k * self.inputs.timestep / FS)

    def strides(self, picoseconds: float) -> int:
        return max(1, round(1000.0 * picoseconds / self.stride_fs))

    def physics(self) -> Any:
        """A calculator of its own for each part of the run."""
        return self.inputs.physics(self.inputs.molecule.atoms)

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Options of a part of the run."""
        learn = self.settings.learning_options()
        return integrator_arguments(self.settings, **{"learn": learn, **changes})

    @property
    def model(self) -> Path:
        """Model file of what the run has learned."""
        return self.folder / f"{self.inputs.molecule.name}.safetensors"

    @property
    def learned(self) -> Path:
        """Model file of what the equilibration has learned."""
        return self.folder / "equilibration.learned.safetensors"


def dynamics_run(
    model: str | Path, molecule: str, settings: RunSettings, folder: str | Path
) -> dict[str, Any]:
    """Run, or go on with a run.

    Parameters
    ----------
    model : str or Path
        A bundled name, a model file, or a cheap method inside the physics, such as ``GFN2-xTB``
        inside ``physics=pyscf``; ``none`` for a run that learns from nothing.
    molecule : str
        A folder of ``kstep prep``, a bundled name, a geometry file, which may be periodic, or a
        SMILES string.
    settings : RunSettings
    folder : path
        A finished run in it is reported and not made again, but goes on to a greater length.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    ValueError
        If molecule, model and settings do not go together, or the folder holds another run.
    DynamicsFailed
        If the dynamics cannot go on; everything so far stays, and ``summary.json`` says why.
    """
    folder = Path(folder)
    inputs = read_inputs(str(model), molecule, settings)
    name = inputs.molecule.name
    # Settings that cannot be run are refused before they are put on record.
    atoms = inputs.molecule.atoms.copy()
    thermalize_momenta(atoms, settings.temperature_K, rng=np.random.default_rng(0))
    atoms.calc = inputs.physics(inputs.molecule.atoms)
    learn = settings.learning_options()
    if isinstance(learn, Learning):
        learn = replace(learn, file=None)
    KStepDynamics(atoms, inputs.jump, **integrator_arguments(settings, learn=learn))
    manifest = _manifest(
        folder, _Made(str(model), molecule, settings, contents_of(str(model), molecule, inputs))
    )
    if manifest["molecules"].get(name, {}).get("status") == "done":
        done: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return done
    start = kept_start(inputs, settings, folder / "start.json")
    job = _Job(inputs, start, settings, folder)
    report, failure = {"status": "done"}, None
    try:
        _produce(job)
    except DynamicsFailed as error:
        report, failure = {"status": "failed", "reason": str(error)}, error
    summary = _conclude(job, str(model), report)
    manifest["molecules"][name] = report
    write_manifest(folder, manifest)
    if failure is not None:
        raise failure
    return summary


def _manifest(folder: Path, made: _Made) -> dict[str, Any]:
    """Manifest of the folder; if the run is to be longer than it says, without the earlier end."""
    manifest = open_manifest(folder, made, free=("run.length_ps",))
    before, length = manifest["settings"]["run"]["length_ps"], made.run.length_ps
    if length < before:
        raise ValueError(
            f"length_ps is {length}, but {folder} holds a run of {before} ps; give at least that, "
            "or another folder"
        )
    if length > before:
        manifest["settings"]["run"]["length_ps"] = length
        manifest["molecules"] = {}
        write_manifest(folder, manifest)
    return manifest


def _equilibrated(job: _Job) -> Atoms:
    """The start of the production, without calculator."""
    settings, path = job.settings, job.folder / "equilibration.ckpt"
    atoms: Atoms = job.start.copy()
    if settings.equilibration_ps:
        if path.exists():
            dynamics = KStepDynamics.resume(path, job.physics(), job.inputs.jump)
        else:
            atoms.calc = job.physics()
            arguments = job.arguments(thermostat="langevin")
            if isinstance(arguments["learn"], Learning):
                arguments["learn"] = replace(arguments["learn"], file=None)
            dynamics = KStepDynamics(
                atoms,
                job.inputs.jump,
                rng=np.random.default_rng([settings.seed, 1]),
                checkpoint=path,
                checkpoint_interval=settings.checkpoint_interval,
                logfile=job.folder / "equilibration.log",
                loginterval=max(1, job.strides(settings.equilibration_ps) // 100),
                **arguments,
            )
        _advance(dynamics, job, settings.equilibration_ps, "equilibration")
        if settings.learn:
            save_learned(dynamics.potential, job.learned, job.learned)
        atoms = dynamics.atoms.copy()
    if settings.thermostat != "langevin":
        bring_to_rest(atoms)
    return atoms


def _jump(job: _Job) -> Jump | None:
    """The jump of the production: on what the equilibration has learned, if it has."""
    inputs, settings = job.inputs, job.settings
    if not (settings.learn and settings.equilibration_ps):
        return inputs.jump
    potential = inputs.potential
    device = settings.device if potential is None else potential.device
    base = base_of(potential)
    learned = load_model(job.learned, device=device, backend=settings.backend, base=base)
    return make_jump(learned, inputs.timestep)


def _produce(job: _Job) -> None:
    settings, path = job.settings, job.folder / "run.ckpt"
    interval = max(1, round((settings.interval_fs or 0.0) / job.stride_fs))
    if path.exists():
        dynamics = KStepDynamics.resume(path, job.physics(), _jump(job))
    else:
        atoms = _equilibrated(job)
        atoms.calc = job.physics()
        arguments = job.arguments()
        if settings.learn and settings.equilibration_ps:
            before = read_checkpoint(job.folder / "equilibration.ckpt")
            labels = job.folder / "equilibration.labels.traj"
            arguments |= learning_after(arguments["learn"], before, labels)
        dynamics = KStepDynamics(
            atoms,
            _jump(job),
            rng=np.random.default_rng([settings.seed, 2]),
            checkpoint=path,
            checkpoint_interval=settings.checkpoint_interval,
            trajectory=job.folder / "run.traj",
            logfile=job.folder / "run.log",
            loginterval=interval,
            **arguments,
        )
    # Around the trajectory, which keeps ``atoms.info``: to the physics, a change of it is an edit.
    dynamics.insert_observer(lambda: mark_frame(dynamics), 0, interval)
    dynamics.attach(lambda: unmark_frame(dynamics), interval)
    try:
        _advance(dynamics, job, settings.length_ps, "strides")
    finally:
        if settings.learn:
            save_learned(dynamics.potential, job.learned, job.model)


def _advance(dynamics: KStepDynamics, job: _Job, picoseconds: float, what: str) -> None:
    """Run up to a time, counted from the beginning, under a progress bar.

    It is counted in strides that are made; in those of a run that learns, which are shorter at
    first, by what they travel, unless rejected ones travel nothing.
    """
    total, end = job.strides(picoseconds), np.inf
    if job.settings.learn and not job.settings.metropolize:
        end, total = picoseconds * PS, math.ceil(picoseconds * PS / job.inputs.timestep)

    def done() -> int:
        if end == np.inf:
            return dynamics.nsteps
        return round(dynamics.get_time() / job.inputs.timestep)

    if dynamics.get_time() + 0.5 * dynamics.dt > end:
        return
    with (
        progress_bar(what, total, completed=done()) as update,
        closing(dynamics.irun(total - dynamics.nsteps)) as strides,  # an interrupt is between two
    ):
        for _ in strides:
            update(done())
            if dynamics.get_time() + 0.5 * dynamics.dt > end:
                return


def _conclude(job: _Job, model: str, report: dict[str, str]) -> dict[str, Any]:
    """Write ``run.npz`` and ``summary.json``, as far as the run has come."""
    settings, molecule = job.settings, job.inputs.molecule
    atoms, method = molecule.atoms, job.inputs.physics.method
    bonds = [one.pairs for one in atoms.constraints if isinstance(one, FixBondLengths)]
    held = [one for one in atoms.constraints if isinstance(one, FixAtoms)]
    fixed = sorted({int(i) for one in held for i in one.index})
    summary: dict[str, Any] = {
        **report,
        "molecule": molecule.name,
        "formula": atoms.get_chemical_formula(),
        "model": model,
        "method": method,
        "stride_fs": job.stride_fs,
    }
    jump = {} if job.inputs.jump is None else job.inputs.jump.describe()
    checkpoints = {
        name: read_checkpoint(job.folder / f"{name}.ckpt")
        for name in ("equilibration", "run")
        if (job.folder / f"{name}.ckpt").exists()
    }
    if "equilibration" in checkpoints:
        stats = checkpoints["equilibration"].run.stats[0]
        summary["equilibration"] = {
            "evaluations": stats.physics_evaluations,
            "fallbacks": stats.fallbacks,
        }
    if settings.learn:
        summary["learning"] = write_learning(job.folder, checkpoints, job.inputs.timestep)
        summary["learned_model"] = job.model.name if job.model.exists() else None
    if "run" in checkpoints:
        interval = max(1, round((settings.interval_fs or 0.0) / job.stride_fs))
        metadata = {
            "method": method,
            "name": molecule.name,
            "smiles": atoms.info.get("smiles"),
            "charge": atoms.info["charge"],
            "constraints": "HBonds" if bonds else None,
            **({"fixed_atoms": fixed} if fixed else {}),
            "timestep_fs": job.inputs.timestep / FS,
            "interval_steps": settings.k * interval,
            "model": model,
            "jump": json.loads(json.dumps(jump, default=str)),
        }
        run = read_run(job.folder / "run.traj", settings, metadata)
        write_npz(job.folder / "run.npz", run)
        stats = checkpoints["run"].run.stats[0]
        summary |= summarize(run, settings, stats, bonds[0] if bonds else None, fixed)
    write_text_atomically(job.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def run_dynamics(model: str, molecule: str, overrides: Sequence[str], output: Path) -> None:
    """Run, with progress and the summary on the console.

    Parameters
    ----------
    model, molecule : str
        As for :func:`dynamics_run`.
    overrides : sequence of str
        ``key=value``, the fields of :class:`RunSettings`.
    output : Path

    Raises
    ------
    ValueError, DynamicsFailed
        As for :func:`dynamics_run`.
    OSError
        If the folder cannot be written.
    ImportError
        If a package is missing.
    """
    console = Console()
    summary = dynamics_run(model, molecule, override(RunSettings, overrides), output)
    for key, value in summary.items():
        if value is not None:
            console.print(f"{key}: {escape(_text(value))}", highlight=False, soft_wrap=True)
    console.print(f"Wrote {escape(str(output))}", highlight=False, soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
