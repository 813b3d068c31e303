"""Runs of a demonstration as they were sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kstep_integrators.diagnostics import EnergyDrift, energy_drift, temperature_per_element
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.units import FS, MEV

__all__ = ["Recorder", "RunRecord"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RunRecord:
    """One run as it was sampled, once every so many steps.

    Attributes
    ----------
    name : str
        What the table and the picture call it.
    stride_fs : float
        Time between physics evaluations, fs.
    masses, numbers : numpy.ndarray
        Shape (N,), u and atomic numbers.
    time : numpy.ndarray
        Shape (F,), ASE time units.
    total_energy : numpy.ndarray
        Shape (F,), eV, of the physics at the sampled positions.
    evaluations : numpy.ndarray
        Shape (F,), physics evaluations made so far, counted inside the calculator.
    positions, momenta : numpy.ndarray
        Shape (F, N, 3), angstrom and ASE units.
    seconds : float
        Wall-clock time of the run.
    physics_seconds : float
        Part of it spent inside the physics calculator.
    jump_seconds : float, optional
        Part of it spent in jumps.
    residual_rms : float, optional
        eV/angstrom; None where the physics gave no forces to compare.
    fallbacks : int
        Strides that the guard gave to velocity Verlet.
    """

    name: str
    stride_fs: float
    masses: Array
    numbers: NDArray[np.int64]
    time: Array
    total_energy: Array
    evaluations: NDArray[np.int64]
    positions: Array
    momenta: Array
    seconds: float
    physics_seconds: float
    jump_seconds: float | None = None
    residual_rms: float | None = None
    fallbacks: int = 0

    @property
    def n_evaluations(self) -> int:
        """Physics evaluations of the whole run."""
        return int(self.evaluations[-1])

    @property
    def evaluation_seconds(self) -> float:
        """Mean cost of one physics evaluation."""
        return self.physics_seconds / self.n_evaluations

    @property
    def overhead_seconds(self) -> float:
        """Mean cost, between two physics evaluations, of everything that is not physics."""
        return max(self.seconds - self.physics_seconds, 0.0) / self.n_evaluations

    @property
    def drift(self) -> EnergyDrift:
        """Drift and fluctuation of the total energy."""
        return energy_drift(self.time, self.total_energy, len(self.masses))

    def summary(self) -> dict[str, Any]:
        """Plain numbers for the JSON file, units in the keys."""
        share = atomic_degrees_of_freedom(
            self.masses, momentum_conserved=True, angular_momentum_positions=self.positions
        )
        temperature = temperature_per_element(self.momenta, self.masses, self.numbers, share)
        return {
            "name": self.name,
            "stride_fs": self.stride_fs,
            "simulated_fs": float(self.time[-1] - self.time[0]) / FS,
            "evaluations": self.n_evaluations,
            "fallbacks": self.fallbacks,
            "drift_meV_per_atom_per_ps": self.drift.drift,
            "fluctuation_meV_per_atom": self.drift.fluctuation,
            "temperature_K": temperature,
            "residual_rms_meV_per_A": (
                None if self.residual_rms is None else self.residual_rms / MEV
            ),
            "seconds": self.seconds,
            "physics_seconds": self.physics_seconds,
            "jump_seconds": self.jump_seconds,
        }


class Recorder:
    """Collects the frames of one run while it goes.

    Parameters
    ----------
    name : str
        Of the run.
    stride_fs : float
        Time between physics evaluations, fs.
    interval : float
        Time between frames, ASE units.
    """

    def __init__(self, name: str, stride_fs: float, interval: float) -> None:
        self.name = name
        self._stride_fs = stride_fs
        self._interval = interval
        self._energies: list[float] = []
        self._evaluations: list[int] = []
        self._positions: list[Array] = []
        self._momenta: list[Array] = []

    @property
    def n_frames(self) -> int:
        """Frames so far."""
        return len(self._energies)

    def sample(self, atoms: Atoms, evaluations: int) -> None:
        """Add a frame; its energy must be known, so that looking costs no evaluation."""
        self._energies.append(float(atoms.get_total_energy()))
        self._evaluations.append(evaluations)
        self._positions.append(atoms.get_positions())
        self._momenta.append(atoms.get_momenta())

    def finish(
        self,
        atoms: Atoms,
        *,
        evaluations: int,
        seconds: float,
        physics_seconds: float,
        jump_seconds: float | None = None,
        residual_rms: float | None = None,
        fallbacks: int = 0,
    ) -> RunRecord:
        """The record of the run, once it is over, with all evaluations it has made by then."""
        self._evaluations[-1] = evaluations
        return RunRecord(
            name=self.name,
            stride_fs=self._stride_fs,
            masses=atoms.get_masses(),
            numbers=atoms.get_atomic_numbers().astype(np.int64),
            time=np.arange(self.n_frames, dtype=np.float64) * self._interval,
            total_energy=np.array(self._energies),
            evaluations=np.array(self._evaluations, dtype=np.int64),
            positions=np.array(self._positions),
            momenta=np.array(self._momenta),
            seconds=seconds,
            physics_seconds=physics_seconds,
            jump_seconds=jump_seconds,
            residual_rms=residual_rms,
            fallbacks=fallbacks,
        )
