"""Frames of a run, each looked at before it is kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from kstep_integrators import units
from kstep_integrators.models.molecules import bonded_pairs
from kstep_training.simulate.engine import Array, Engine, Frame, TrajectoryEnded

__all__ = ["Recorder"]

MAX_HEATING = 10.0
"""Times the target temperature that the kinetic energy may reach."""
MAX_ENERGY_CHANGE = 0.1
"""eV per atom, and at least 1 eV in all, by which the total energy may change within a segment."""
BOND, BROKEN = 1.3, 1.75
"""Distances over the sum of the covalent radii: of a bond at the start, and of a broken one."""


class Recorder:
    """Advances an engine and keeps frames, until something is unphysical.

    Parameters
    ----------
    engine : Engine
    temperature : float
        Kelvin.
    numbers : (n_atoms,) int
    start : (n_atoms, 3) angstrom
        Where the trajectory began: its bonds may not break.
    conserved : bool
        Whether the total energy should be.

    Attributes
    ----------
    frames : list of Frame
    """

    def __init__(
        self,
        engine: Engine,
        temperature: float,
        numbers: npt.NDArray[np.int64],
        start: Array,
        conserved: bool,
    ) -> None:
        self.engine, self.temperature, self.conserved = engine, temperature, conserved
        self.numbers = numbers
        self.bonds = bonded_pairs(Atoms(numbers, positions=start), BOND).T
        self.longest = BROKEN * covalent_radii[numbers][self.bonds].sum(axis=0)
        self.allowed = max(1.0, MAX_ENERGY_CHANGE * len(numbers))
        self.total = 0.0  # at the start
        self.frames: list[Frame] = []

    def keep(self) -> None:
        """One frame.

        Raises
        ------
        TrajectoryEnded
            If a number is not finite, the molecule is too hot, a bond is broken, or the energy is
            not conserved.
        """
        frame = self.engine.frame()
        self._check(frame)
        self.frames.append(frame)

    def _check(self, frame: Frame) -> None:
        time = f"{frame.time / units.PS:.3f} ps"
        kinetic = 0.5 * float((self.engine.masses[:, None] * frame.velocities**2).sum())
        if not (np.isfinite(frame.positions).all() and np.isfinite(frame.energy + kinetic)):
            raise TrajectoryEnded(f"positions or energies are not finite at {time}")
        kelvin = 2.0 * kinetic / (self.engine.degrees * units.KB)
        if kelvin > MAX_HEATING * self.temperature:
            raise TrajectoryEnded(
                f"{kelvin:.0f} K at {time}, more than {MAX_HEATING:g} times the "
                f"{self.temperature:g} K asked for"
            )
        i, j = self.bonds
        lengths = np.linalg.norm(frame.positions[i] - frame.positions[j], axis=1)
        for bond in np.flatnonzero(lengths > self.longest)[:1]:
            ends = [f"{chemical_symbols[self.numbers[a]]}{a}" for a in (i[bond], j[bond])]
            raise TrajectoryEnded(
                f"the bond {'-'.join(ends)} is {lengths[bond]:.2f} A long at {time}: it broke"
            )
        total = frame.energy + kinetic
        if not self.frames:
            self.total = total
        elif self.conserved and abs(total - self.total) > self.allowed:
            raise TrajectoryEnded(
                f"the total energy has changed by {total - self.total:.2f} eV at {time}"
            )

    def advance(self, steps: int, interval: int) -> None:
        """Frames at the start, every ``interval`` steps and at the end.

        Raises
        ------
        TrajectoryEnded
            As for :meth:`keep`, or if forces cannot be computed.
        """
        self.keep()
        for done in range(0, steps, interval):
            self.engine.step(min(interval, steps - done))
            self.keep()
