"""Dynamics of one molecule with an ASE calculator: GFN-xTB, GFN-FF, Hartree-Fock, DFT."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from kstep_integrators import units
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_training.simulate.engine import Array, Frame, Run, TrajectoryEnded

__all__ = ["ASEEngine"]

FMAX = 0.05
"""Largest force on an atom of a relaxed conformer, eV/angstrom."""
RELAXATION_STEPS = 300
"""At most; what is not at a minimum then is left to the equilibration."""

_PACKAGES = {"GFN2-xTB": "tblite", "GFN1-xTB": "tblite", "GFN-FF": "xtb", "pyscf": "pyscf"}


def _calculator(run: Run, start: Atoms) -> tuple[Calculator, str]:
    """A new calculator and the name of what it computes."""
    settings, charge = run.settings, int(start.info["charge"])
    if settings.method != "pyscf":
        return xtb_calculator(settings.method, charge), settings.method
    xc, basis = settings.xc or "hf", settings.basis or "sto-3g"
    method, functional = ("hf", None) if xc.lower() == "hf" else (None, xc)
    made = PySCFCalculator(method, xc=functional, basis=basis, charge=charge, directory=run.failed)
    return made, f"{xc}/{basis}"


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
        With GFN-FF, if it fails for the first conformer.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        # Every part of a trajectory begins with a calculator that remembers nothing: its frames are
        # the same with and without an interruption before it.
        self.atoms = run.prepared.conformers[0].copy()
        self.atoms.calc, self.method = _calculator(run, self.atoms)
        self.masses: Array = self.atoms.get_masses()
        self.degrees = 3 * len(self.atoms)
        package = _PACKAGES[run.settings.method]
        self.versions: Mapping[str, str] = {package: version(package), "ase": version("ase")}
        self.dynamics: MolecularDynamics | None = None
        self.steps = 0
        if run.settings.method == "GFN-FF":
            # It takes its bonds from the first geometry that it sees: one surface for all parts.
            self.label(self.atoms.positions)

    def relaxed(self, number: int) -> Array:
        """A conformer relaxed with the method.

        Raises
        ------
        TrajectoryEnded
            If forces cannot be computed.
        """
        self.atoms.positions = self.run.prepared.conformers[number].positions
        try:
            BFGS(self.atoms, logfile=None).run(fmax=FMAX, steps=RELAXATION_STEPS)
        except CalculationFailed as error:
            raise TrajectoryEnded(f"while the conformer was relaxed: {error}") from error
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
        """The molecule now.

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
