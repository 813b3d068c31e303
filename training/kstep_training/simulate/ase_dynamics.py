"""Dynamics of one molecule with an ASE calculator: GFN-xTB, GFN-FF, Hartree-Fock, DFT."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from ase.calculators.calculator import CalculationFailed
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import units
from kstep_training.inputs.start import RelaxationFailed, relax
from kstep_training.simulate.engine import Array, Frame, Run, TrajectoryEnded

__all__ = ["ASEEngine"]

FMAX = 0.05
"""Largest force on an atom of a relaxed conformer, eV/angstrom."""
RELAXATION_STEPS = 300
"""At most; what is not at a minimum then is left to the equilibration."""


class ASEEngine:
    """A method behind an ASE calculator, without constraints.

    Langevin dynamics is ASE's; its velocities, as those of velocity Verlet, are of the same time as
    the positions.

    Parameters
    ----------
    run : Run

    Raises
    ------
    ValueError, ImportError
        If the method cannot be had.
    TrajectoryEnded
        If the method fails at the first conformer, from which GFN-FF takes its bonds.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        # Every part of a trajectory begins with a calculator that remembers nothing: its frames are
        # the same with and without an interruption before it.
        self.atoms = run.prepared.conformers[0].copy()
        physics = run.physics
        try:
            self.atoms.calc, self.method = physics(self.atoms), physics.method
        except CalculationFailed as error:
            raise TrajectoryEnded(f"at the first conformer: {error}") from error
        self.masses: Array = self.atoms.get_masses()
        self.degrees = 3 * len(self.atoms)
        self.versions: Mapping[str, str] = {**physics.versions, "ase": version("ase")}
        self.dynamics: MolecularDynamics | None = None
        self.steps = 0

    def relaxed(self, number: int) -> Array:
        """A conformer relaxed with the method.

        Raises
        ------
        TrajectoryEnded
            If forces cannot be computed.
        """
        self.atoms.positions = self.run.prepared.conformers[number].positions
        try:
            relax(self.atoms, FMAX, RELAXATION_STEPS, self.run.prepared.name)
        except RelaxationFailed as error:
            if isinstance(error.__cause__, CalculationFailed):
                raise TrajectoryEnded(f"while the conformer was relaxed: {error}") from error
            raise
        return np.array(self.atoms.get_positions())

    def thermal(self, positions: Array, seed: int) -> Array:
        """Velocities drawn at the temperature, with those of translation and rotation."""
        self.atoms.positions = positions
        thermalize_momenta(
            self.atoms, temperature_K=self.run.temperature, rng=np.random.default_rng(seed)
        )
        return np.array(self.atoms.get_velocities())

    def _set(self, positions: Array, velocities: Array) -> float:
        self.atoms.positions = positions
        self.atoms.set_velocities(velocities)
        self.steps = 0
        return self.run.timestep_ps * units.PS

    def langevin(
        self, positions: Array, velocities: Array, friction_per_ps: float, seed: int
    ) -> None:
        """Begin Langevin dynamics."""
        self.dynamics = Langevin(
            self.atoms,
            self._set(positions, velocities),
            temperature_K=self.run.temperature,
            friction=friction_per_ps / units.PS,
            fixcm=False,
            rng=np.random.default_rng(seed),
        )

    def verlet(self, positions: Array, velocities: Array) -> None:
        """Begin velocity Verlet."""
        self.dynamics = VelocityVerlet(self.atoms, self._set(positions, velocities))

    def step(self, steps: int) -> None:
        """Go on by some steps.

        Raises
        ------
        TrajectoryEnded
            If forces cannot be computed.
        """
        if self.dynamics is None:
            raise RuntimeError("no dynamics has begun; call langevin or verlet first")
        try:
            self.dynamics.run(steps)
        except CalculationFailed as error:
            raise TrajectoryEnded(f"after {self._time / units.PS:.3f} ps: {error}") from error
        self.steps += steps

    @property
    def _time(self) -> float:
        return self.steps * self.run.timestep_ps * units.PS

    def frame(self) -> Frame:
        """Positions, velocities, forces and energy of the molecule now.

        Raises
        ------
        TrajectoryEnded
            If forces cannot be computed.
        """
        atoms = self.atoms
        try:
            forces = atoms.get_forces()
        except CalculationFailed as error:
            raise TrajectoryEnded(f"after {self._time / units.PS:.3f} ps: {error}") from error
        return Frame(
            atoms.get_positions(),
            atoms.get_velocities(),
            forces,
            float(atoms.get_potential_energy()),
            self._time,
        )

    def label(self, positions: Array) -> Frame:
        """Energy and forces at a geometry.

        Raises
        ------
        TrajectoryEnded
            If they cannot be computed.
        """
        self._set(positions, np.zeros_like(positions))
        return self.frame()
