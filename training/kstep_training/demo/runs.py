"""The runs of a demonstration, made as an evaluation makes them, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.trajectory import TrajectoryWriter
from numpy.typing import NDArray
from rich.progress import Progress

from kstep_integrators import DirectJump, DynamicsFailed, NetworkPotential
from kstep_integrators.diagnostics import EnergyDrift, energy_drift
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.step.options import RunOptions
from kstep_integrators.units import FS, MEV
from kstep_training.demo.settings import DemoSettings
from kstep_training.evaluate.controls import velocity_verlet
from kstep_training.evaluate.energy_and_spectra import temperatures, total_energy
from kstep_training.evaluate.jumps import jump_runs
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import EachFrame, Record

__all__ = ["DemoRun", "make_run", "make_runs"]


@dataclass(frozen=True)
class DemoRun:
    """One run of a demonstration.

    Attributes
    ----------
    method : Method
    record : Record
        A frame at each stride of the jumps.
    evaluations : numpy.ndarray
        Shape (F,), physics evaluations made by each frame, counted inside the calculator.
    """

    method: Method
    record: Record
    evaluations: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Name in the table and the picture."""
        return self.method.name

    @property
    def n_evaluations(self) -> int:
        """Physics evaluations of the whole run."""
        return int(self.record.facts["counted"])

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run."""
        return float(self.record.facts["seconds"])

    @property
    def evaluation_seconds(self) -> float:
        """Mean cost of one physics evaluation."""
        return float(self.record.facts["physics_seconds"]) / self.n_evaluations

    @property
    def overhead_seconds(self) -> float:
        """Mean cost, between two physics evaluations, of everything that is not physics."""
        outside = self.seconds - float(self.record.facts["physics_seconds"])
        return max(outside, 0.0) / self.n_evaluations

    @property
    def residual_rms(self) -> float | None:
        """eV/angstrom; None of runs without jumps, or where the physics gave no forces."""
        rms: float | None = self.record.facts.get("residual_rms")
        return rms

    @property
    def fallbacks(self) -> int:
        """Strides that were undone and made by velocity Verlet."""
        return int(self.record.facts.get("fallbacks", 0))

    @property
    def drift(self) -> EnergyDrift:
        """Drift and fluctuation of the total energy."""
        return energy_drift(*total_energy(self.record), len(self.record.masses))

    def summary(self) -> dict[str, Any]:
        """Plain numbers for the JSON file, units in the keys."""
        drift, residual = self.drift, self.residual_rms
        return {
            "name": self.name,
            "stride_fs": self.method.stride_fs,
            "simulated_fs": float(self.record.time[-1]) / FS,
            "evaluations": self.n_evaluations,
            "fallbacks": self.fallbacks,
            "drift_meV_per_atom_per_ps": drift.drift,
            "fluctuation_meV_per_atom": drift.fluctuation,
            "temperature_K": temperatures(self.record, conserved=True),
            "residual_rms_meV_per_A": None if residual is None else residual / MEV,
            "seconds": self.seconds,
            "physics_seconds": float(self.record.facts["physics_seconds"]),
            "jump_seconds": self.record.facts.get("jump_seconds"),
        }


def make_run(
    method: Method,
    start: Atoms,
    model: NetworkPotential | DirectJump,
    physics: CalculatorFactory,
    settings: DemoSettings,
    each_frame: EachFrame | None = None,
) -> Record:
    """One run, in ASE or, if it jumps and the settings say so, in OpenMM.

    Parameters
    ----------
    method : Method
    start : ase.Atoms
        With momenta; stays as it is.
    model : NetworkPotential or DirectJump
    physics : CalculatorFactory
    settings : DemoSettings
    each_frame : EachFrame, optional

    Raises
    ------
    DynamicsFailed
        If the run does not come to its end.
    """
    if method.kind == "verlet":
        record = velocity_verlet(method, start, physics, each_frame)
    elif settings.engine == "openmm":
        # It imports OpenMM, which is optional.
        from kstep_training.demo.openmm_jumps import openmm_jumps

        record = openmm_jumps(method, start, model, physics, settings, each_frame)
    else:
        atoms = start.copy()
        atoms.info["replica"] = 0
        jump = make_jump(model, settings.timestep_fs * FS)
        options = RunOptions(k=settings.k, corrector=method.corrector)
        rng = np.random.default_rng(settings.seed)
        record = jump_runs(method, jump, options, [atoms], physics, rng, each_frame)[0]
    if not record.whole:
        raise DynamicsFailed(f"{method.name} was lost: {record.facts['error']}")
    return record


def make_runs(
    methods: Sequence[Method],
    start: Atoms,
    model: NetworkPotential | DirectJump,
    physics: CalculatorFactory,
    settings: DemoSettings,
    progress: Progress,
) -> list[DemoRun]:
    """All runs from one start, and the trajectory of the first that jumps in a file.

    Raises
    ------
    DynamicsFailed
        If a run does not come to its end.
    """
    first = next(method for method in methods if method.kind == "jumps")
    runs = []
    for method in methods:
        path = settings.output / "trajectory.traj" if method is first else None
        with _Watcher(method, progress, path) as watcher:
            record = make_run(method, start, model, physics, settings, watcher)
        # Evaluations after the last frame, of which there should be none, belong to the run too.
        evaluations = [*watcher.evaluations[:-1], int(record.facts["counted"])]
        runs.append(DemoRun(method, record, np.array(evaluations, dtype=np.int64)))
    return runs


class _Watcher:
    """A progress bar, the evaluations by each frame, and a trajectory, as a run goes on."""

    def __init__(self, method: Method, progress: Progress, path: Path | None) -> None:
        self.evaluations: list[int] = []
        self._progress = progress
        frames = round(1000.0 * method.length_ps / method.frame_fs)
        self._task = progress.add_task(method.name, total=frames)
        self._writer = None if path is None else TrajectoryWriter(path, "w")

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def __call__(self, number: int, atoms: Atoms, counted: int) -> None:
        self._progress.update(self._task, completed=len(self.evaluations))
        self.evaluations.append(counted)
        if self._writer is not None:
            self._writer.write(atoms)
