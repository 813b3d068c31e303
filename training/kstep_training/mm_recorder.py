"""Frames of an OpenMM run, each looked at before it is kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import openmm
from openmm import unit

from kstep_integrators import units

__all__ = ["Exploded", "Recorder"]

MAX_HEATING = 10.0
"""Times the target temperature that the kinetic energy may reach."""
MAX_ENERGY_CHANGE = 0.1
"""eV per atom, and at least 1 eV in all, by which the total energy may change within a segment."""


class Exploded(RuntimeError):
    """A trajectory has become unphysical."""


class Recorder:
    """Advances an OpenMM context and keeps frames, until something is unphysical.

    Parameters
    ----------
    context : openmm.Context
    temperature : float
        Kelvin.
    conserved : bool
        Whether the total energy should be.

    Attributes
    ----------
    masses : (n_atoms,) u
    rows : list of tuple
        Positions (nm), velocities (nm/ps), forces (kJ/(mol nm)), potential energy (kJ/mol) and time
        (ps) of each frame.
    """

    def __init__(self, context: openmm.Context, temperature: float, conserved: bool) -> None:
        self.context, self.temperature, self.conserved = context, temperature, conserved
        system = context.getSystem()
        n_atoms = system.getNumParticles()
        self.masses = np.array(
            [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(n_atoms)]
        )
        self.degrees = 3 * n_atoms - system.getNumConstraints()
        self.allowed = max(1.0, MAX_ENERGY_CHANGE * n_atoms) / units.KJ_PER_MOL
        self.total = 0.0  # at the start
        self.rows: list[tuple[npt.NDArray[np.float64], ...]] = []

    def keep(self) -> None:
        """One frame.

        Raises
        ------
        Exploded
            If a number is not finite, the molecule is too hot, or the energy is not conserved.
        """
        state = self.context.getState(positions=True, velocities=True, forces=True, energy=True)
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        v = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        f = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        time = state.getTime().value_in_unit(unit.picosecond)
        kinetic = 0.5 * float((self.masses[:, None] * v**2).sum())
        self._check(x, energy, kinetic, time)
        self.rows.append((x, v, f, np.array(energy), np.array(time)))

    def _check(
        self, x: npt.NDArray[np.float64], energy: float, kinetic: float, time: float
    ) -> None:
        if not (np.isfinite(x).all() and np.isfinite(energy) and np.isfinite(kinetic)):
            raise Exploded(f"positions or energies are not finite at {time:.3f} ps")
        found = 2.0 * kinetic * units.KJ_PER_MOL / (self.degrees * units.KB)
        if found > MAX_HEATING * self.temperature:
            raise Exploded(
                f"{found:.0f} K at {time:.3f} ps, more than {MAX_HEATING:g} times the "
                f"{self.temperature:g} K asked for"
            )
        total = energy + kinetic
        if not self.rows:
            self.total = total
        elif self.conserved and abs(total - self.total) > self.allowed:
            raise Exploded(
                f"the total energy has changed by {(total - self.total) * units.KJ_PER_MOL:.2f} eV "
                f"at {time:.3f} ps"
            )

    def advance(self, steps: int, interval: int) -> None:
        """Frames at the start, every ``interval`` steps and at the end.

        Raises
        ------
        Exploded
            As for :meth:`keep`.
        """
        self.keep()
        for done in range(0, steps, interval):
            self.context.getIntegrator().step(min(interval, steps - done))
            self.keep()
