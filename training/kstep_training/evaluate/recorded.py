"""Energies of the physics at landings where a run has estimates: computed for its record alone."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kstep_integrators.physics.calculation import ask
from kstep_integrators.physics.estimated import is_estimated
from kstep_integrators.physics.workers import CalculatorFactory

__all__ = ["RecordedEnergies"]


class RecordedEnergies:
    """Potential energies of the physics at the positions of runs, and what estimates are off by.

    A run whose corrector averages positions has computed the physics elsewhere. Its energy is
    judged by the physics where it is all the same; these evaluations are none of the run's.

    Parameters
    ----------
    physics : CalculatorFactory
        Makes a calculator for each run, beside the one that it has.

    Attributes
    ----------
    evaluations : dict of int to int
        Made for the record of each run, by its number.
    errors : dict of int to list of float
        Estimated minus computed energies of each run, eV.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.morse import MorsePotential
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> from kstep_integrators.physics.estimated import note_estimates
    >>> frame = molecule("N2")
    >>> frame.calc = SinglePointCalculator(frame, energy=0.5)
    >>> energies = RecordedEnergies(lambda atoms: MorsePotential(r0=frame.get_distance(0, 1)))
    >>> energies(0, frame), energies.evaluations
    (0.5, {})
    >>> note_estimates(frame, True)
    >>> round(energies(0, frame), 9), energies.evaluations, energies.errors
    (-1.0, {0: 1}, {0: [1.5]})
    """

    def __init__(self, physics: CalculatorFactory) -> None:
        self.physics = physics
        self.evaluations: dict[int, int] = {}
        self.errors: dict[int, list[float]] = {}
        self._atoms: dict[int, Atoms] = {}

    def __call__(self, number: int, frame: Atoms) -> float:
        """The energy at a frame of a run, eV; NaN if it cannot be computed."""
        known = np.nan if frame.calc is None else float(frame.calc.results["energy"])
        if not is_estimated(frame):
            return known
        here = self._atoms.get(number)
        if here is None:
            here = self._atoms[number] = frame.copy()
            here.calc = self.physics(frame.copy())
        here.positions[:] = frame.positions
        answer = ask(here, False)
        self.evaluations[number] = self.evaluations.get(number, 0) + 1
        if answer.failure:
            return np.nan
        self.errors.setdefault(number, []).append(known - float(answer.energy))
        return float(answer.energy)
