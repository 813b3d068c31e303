"""One trajectory to be simulated, and what every engine that simulates it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kstep_training.inputs.molecules import InputMolecule
from kstep_training.inputs.physics import InputPhysics, make_physics
from kstep_training.prep.prepared import Prepared
from kstep_training.simulate.settings import SimulateSettings

__all__ = ["Array", "Engine", "Frame", "Run", "TrajectoryEnded"]

Array = npt.NDArray[np.float64]


class TrajectoryEnded(RuntimeError):
    """A trajectory cannot go on: it has become unphysical, or its forces cannot be computed."""


@dataclass(frozen=True)
class Run:
    """One trajectory.

    Attributes
    ----------
    prepared : Prepared
    prep : dict
        Settings of the stage ``prep``: ``forcefield``, ``constraints`` and more.
    settings : SimulateSettings
    temperature : float
        Kelvin.
    number : int
        Of the trajectory, from 0.
    failed : Path
        Folder for geometries whose SCF does not converge (PySCF only).
    """

    prepared: Prepared
    prep: Mapping[str, Any]
    settings: SimulateSettings
    temperature: float
    number: int
    failed: Path = Path("failed")

    @property
    def physics(self) -> InputPhysics:
        """Physics that labels the frames.

        Raises
        ------
        ValueError
            If it is the force field, and the molecule was prepared without one.
        """
        prepared, forcefield = self.prepared, self.prep["forcefield"]
        molecule = InputMolecule(prepared.name, prepared.conformers[0], prepared.system, forcefield)
        return replace(make_physics(self.settings, molecule), directory=self.failed)

    @property
    def constraints(self) -> str | None:
        """Constraints of the force field; other methods have none."""
        return self.prep["constraints"] if self.settings.physics == "mm" else None

    @property
    def timestep_ps(self) -> float:
        """Time step of the settings, or what the physics and the constraints allow."""
        allowed = 0.25
        if self.settings.physics == "mm":
            allowed = 2.0 if self.constraints else 0.5
        return (self.settings.timestep_fs or allowed) / 1000.0

    def steps(self, picoseconds: float) -> int:
        """Number of whole steps in a time, at least one."""
        return max(1, round(picoseconds / self.timestep_ps))

    def seed(self, *stage: int) -> int:
        """A seed, different for every stage of every trajectory."""
        name = self.prepared.name.encode()
        entropy = [self.settings.seed, round(1000 * self.temperature), self.number, *stage, *name]
        return int(np.random.default_rng(entropy).integers(1, 2**31 - 1))


class Frame(NamedTuple):
    """A molecule at one time, ASE units.

    Attributes
    ----------
    positions, velocities, forces : (n_atoms, 3)
        Forces without those of constraints.
    energy : float
        Potential energy.
    time : float
        Since the dynamics began.
    """

    positions: Array
    velocities: Array
    forces: Array
    energy: float
    time: float


class Engine(Protocol):
    """Simulates one molecule. Positions in angstrom, velocities in angstrom/ASE time."""

    method: str
    """Name of the method that labels the frames."""
    masses: Array
    """(n_atoms,) u."""
    degrees: int
    """Degrees of freedom."""
    versions: Mapping[str, str]
    """Versions of the packages that compute."""

    def relaxed(self, number: int) -> Array:
        """Positions of a conformer, at a minimum of the method or close to one."""
        ...

    def thermal(self, positions: Array, seed: int) -> Array:
        """Velocities drawn at the temperature of the run."""
        ...

    def langevin(
        self, positions: Array, velocities: Array, friction_per_ps: float, seed: int
    ) -> None:
        """Begin Langevin dynamics."""
        ...

    def verlet(self, positions: Array, velocities: Array) -> None:
        """Begin velocity Verlet, on the constraints if there are any."""
        ...

    def step(self, steps: int) -> None:
        """Go on by some steps.

        Raises
        ------
        TrajectoryEnded
            If forces cannot be computed.
        """
        ...

    def frame(self) -> Frame:
        """Positions, velocities, forces and energy of the molecule now."""
        ...

    def label(self, positions: Array) -> Frame:
        """Energy and forces at a geometry, velocities zero.

        Raises
        ------
        TrajectoryEnded
            If they cannot be computed.
        """
        ...
