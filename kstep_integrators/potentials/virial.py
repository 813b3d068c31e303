"""The virial of a potential in a cell: its own where it has one, or by differences of energies."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from kstep_integrators.mechanics.strain import virial
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import EvaluationFailed, PhaseState

__all__ = ["VirialPotential", "potential_energy", "potential_virial"]


@runtime_checkable
class VirialPotential(Protocol):
    """A potential that may know the derivative of its energy by the strain of the cell."""

    def virial(self, state: PhaseState) -> Tensor | None:
        """Stress times volume of one molecule or replica, (6,) eV; None if it does not know it."""
        ...


def potential_virial(potential: Potential, state: PhaseState) -> Tensor:
    """Derivatives of the energy of a potential by the strain: its stress times the volume.

    Parameters
    ----------
    potential : Potential
    state : PhaseState
        One molecule or replica, in a cell that is periodic in all directions.

    Returns
    -------
    (6,) float64, eV
        In the order xx, yy, zz, yz, xz, xy. By central differences, twelve energies, if the
        potential has none of its own; not a number where it fails.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from kstep_integrators import CalculatorPotential
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> copper = bulk("Cu", a=3.5)
    >>> virial = potential_virial(CalculatorPotential(EMT()), state_from_atoms(copper))
    >>> copper.calc = EMT()
    >>> bool(abs(virial[0] - copper.get_volume() * copper.get_stress()[0]) < 1e-12)
    True
    """
    known = potential.virial(state) if isinstance(potential, VirialPotential) else None
    if known is not None:
        return known
    return virial(state, lambda there: potential_energy(potential, there))


def potential_energy(potential: Potential, state: PhaseState) -> float:
    """Energy of one molecule or replica, eV; not a number where the potential fails."""
    try:
        with torch.no_grad():
            found, _ = potential.bind(state)(state.positions.to(potential.device), None)
    except EvaluationFailed:
        return math.nan
    return math.nan if found.failures else float(found.energy[0])
