"""The runs of ``kstep demo --learn``: a potential that learns, and beside it the same one as it is.

Both begin at one start under GFN2-xTB, and are followed stride by stride.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kstep_integrators import KStepDynamics, Learning
from kstep_integrators.diagnostics import EnergyDrift, energy_drift
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.units import FS, MEV

__all__ = ["LearnedRun", "followed_run"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LearnedRun:
    """A run, stride by stride; S of them.

    Attributes
    ----------
    name : str
    learns : bool
    stride_fs : (S,) fs
    residual : (S,) eV/angstrom
        Rms component of F_physics - F_potential at each landing, before its label is learned.
    energy : (S + 1,) eV
        Total energy of the physics; the start first.
    atoms : int
    evaluations : int
    seconds, physics_seconds, jump_seconds : float
        What is left of the first is learning.
    record_evaluations : int
        Made for the energies of the record alone, where the run has estimates; they are not among
        the evaluations, nor is their time among the seconds.
    """

    name: str
    learns: bool
    stride_fs: Array
    residual: Array
    energy: Array
    atoms: int
    evaluations: int
    seconds: float
    physics_seconds: float
    jump_seconds: float
    record_evaluations: int = 0

    @property
    def time(self) -> Array:
        """Of the start and of each landing, fs, (S + 1,)."""
        return np.concatenate(([0.0], np.cumsum(self.stride_fs)))

    @property
    def late(self) -> slice:
        """The second half of its landings."""
        return slice(len(self.residual) // 2, None)

    @property
    def late_residual(self) -> float:
        """Rms residual over the second half, eV/angstrom."""
        return float(np.sqrt(np.mean(self.residual[self.late] ** 2)))

    @property
    def late_drift(self) -> EnergyDrift:
        """Drift and fluctuation of the total energy over the second half."""
        half = len(self.energy) // 2
        return energy_drift(self.time[half:] * FS, self.energy[half:], self.atoms)

    def summary(self) -> dict[str, Any]:
        """Plain numbers for the JSON file, units in the keys."""
        return {
            "name": self.name,
            "simulated_fs": float(self.time[-1]),
            "evaluations": self.evaluations,
            "record_evaluations": self.record_evaluations,
            "residual_meV_per_A": (self.residual / MEV).tolist(),
            "stride_fs": self.stride_fs.tolist(),
            "residual_second_half_meV_per_A": self.late_residual / MEV,
            "fluctuation_second_half_meV_per_atom": self.late_drift.fluctuation,
            "seconds": self.seconds,
            "physics_seconds": self.physics_seconds,
            "jump_seconds": self.jump_seconds,
        }


def followed_run(
    name: str,
    atoms: Atoms,
    model: NetworkPotential,
    learn: Learning | bool,
    time_fs: float,
    each_stride: Callable[[float], None],
    *,
    k: int,
    timestep: float,
    trajectory: Path | None = None,
) -> tuple[LearnedRun, KStepDynamics]:
    """Run for a time, at constant energy.

    Parameters
    ----------
    name : str
    atoms : ase.Atoms
        The start, with momenta and the physics.
    model : NetworkPotential
    learn : Learning or False
    time_fs : float
    each_stride : callable
        Given the simulated time, fs, after each stride.
    k : int
        Base steps per stride.
    timestep : float
        Base step, ASE time units.
    trajectory : Path, optional

    Raises
    ------
    DynamicsFailed
        If the run does not come to its end.
    """
    dynamics = KStepDynamics(
        atoms, model, k=k, timestep=timestep, learn=learn, trajectory=trajectory
    )
    energy, residual, strides = list[float](), list[float](), list[float]()
    squares, began = 0.0, time.perf_counter()
    recorded, recording = 0, 0.0
    for _ in dynamics.irun(int(time_fs * FS / timestep)):
        asked = time.perf_counter()
        energy.append(float(atoms.get_total_energy()))
        if dynamics.estimates() is not None:  # then it has been computed for this record alone
            recorded += 1
            recording += time.perf_counter() - asked
        stats = dynamics.stats
        if stats.jumps:
            after = stats.jumps * (stats.residual_rms or 0.0) ** 2
            residual.append(float(np.sqrt(max(after - squares, 0.0))))
            strides.append(dynamics.get_time() / FS - sum(strides))
            squares = after
        each_stride(dynamics.get_time() / FS)
        if (dynamics.get_time() + 0.5 * dynamics.dt) / FS > time_fs:
            break
    stats = dynamics.stats
    run = LearnedRun(
        name,
        bool(learn),
        np.array(strides),
        np.array(residual),
        np.array(energy),
        len(atoms),
        stats.physics_evaluations,
        time.perf_counter() - began - recording,
        stats.physics_seconds,
        stats.jump_seconds,
        recorded,
    )
    return run, dynamics
