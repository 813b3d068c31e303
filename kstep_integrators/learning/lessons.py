"""State of learning between two steps of a run: frozen, and in every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import GLOBAL, scoped
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.ridge import Posterior

__all__ = ["Example", "Grade", "Lessons"]


@dataclass(frozen=True)
class Example:
    """A label as it is learned from.

    Attributes
    ----------
    molecule : int
        Which of those of the run.
    positions : (N, 3) float64, angstrom
    energy : float, eV
    forces : (N, 3) float64, eV/angstrom, or None
    step : int
        Of the run, when it came.
    cell : (3, 3) float64, angstrom
    stress : (6,) float64, eV/angstrom^3, or None
        xx, yy, zz, yz, xz, xy; in a cell that is periodic in all directions, if the physics gave
        it.
    """

    molecule: int = scoped(GLOBAL)
    positions: Tensor = scoped(GLOBAL)
    energy: float = scoped(GLOBAL)
    forces: Tensor | None = scoped(GLOBAL)
    step: int = scoped(GLOBAL)
    cell: Tensor = scoped(GLOBAL)
    stress: Tensor | None = scoped(GLOBAL, default=None)

    @classmethod
    def of(cls, label: Label) -> Example:
        """The example of a label."""
        forces = None if label.forces is None else torch.from_numpy(label.forces.copy())
        positions = torch.from_numpy(label.positions.copy())
        cell, stress = torch.from_numpy(label.cell.copy()), label.stress
        tensor = None if stress is None else torch.from_numpy(stress.copy())
        return cls(label.molecule, positions, label.energy, forces, label.step, cell, tensor)


@dataclass(frozen=True)
class Grade:
    """Residuals of the labels of a block before they were learned.

    Attributes
    ----------
    labels : int
        Learned before them.
    count : int
        Labels of the block.
    step : int
        Of the run, when the last of them came.
    residual : float
        Rms component of F_physics - F_potential, eV/angstrom, with all that had been learned; NaN
        without forces.
    of_base : float
        The same of the base, or of the last refit, without what was learned since.
    predicted : float
        Rms of the standard deviations that the posterior gave the force, eV/angstrom; NaN before
        the first solution.
    """

    labels: int
    count: int
    step: int
    residual: float
    of_base: float
    predicted: float


@dataclass(frozen=True)
class Lessons:
    """State of learning between two steps of a run.

    Attributes
    ----------
    posterior : Posterior
        Of what the weights differ from ``prior``, and of the offsets of the energy.
    prior : (S, D) float64, eV
        Weights without any label: those of the last refit, or zero.
    weights : (S, D) float64, eV
        In use.
    offsets : tuple of float or None
        Physics minus base where each kind of molecule was first seen, eV.
    pending : tuple of Example
        Not learned yet.
    held : tuple of Example
        The last that were learned, with which a refit is compared.
    grades : tuple of Grade
        Of every block, the lengths of which grow with their number.
    labels : int
        Learned.
    trusted : bool
        False: the base was better on the last labels, and is used.
    frozen_at : int or None
        The step from which on nothing is learned.
    refits_begun : int
        Refits of all weights that have begun.
    refit_taken : int
        The number of the one whose network is in use; 0 for none.
    refit_from : int
        Labels that the one at work is fitted to; 0 if none is.
    refit_grade : int
        Blocks that had been graded when it began.
    """

    posterior: Posterior = scoped(GLOBAL)
    prior: Tensor = scoped(GLOBAL)
    weights: Tensor = scoped(GLOBAL)
    offsets: tuple[float | None, ...] = scoped(GLOBAL)
    pending: tuple[Example, ...] = scoped(GLOBAL, default=())
    held: tuple[Example, ...] = scoped(GLOBAL, default=())
    grades: tuple[Grade, ...] = scoped(GLOBAL, default=())
    labels: int = scoped(GLOBAL, default=0)
    trusted: bool = scoped(GLOBAL, default=True)
    frozen_at: int | None = scoped(GLOBAL, default=None)
    refits_begun: int = scoped(GLOBAL, default=0)
    refit_taken: int = scoped(GLOBAL, default=0)
    refit_from: int = scoped(GLOBAL, default=0)
    refit_grade: int = scoped(GLOBAL, default=0)

    @property
    def learning(self) -> bool:
        """True until the potential is frozen."""
        return self.frozen_at is None
