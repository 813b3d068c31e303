"""Frames whose energies and forces are estimates and say so, and what the average takes."""

from __future__ import annotations

import logging

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.correctors import Corrector, Mollified
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.torch_sim import TorchSimPotential
from kstep_integrators.state import PhasePoint

__all__ = ["estimated_frame", "say_calls"]

_log = logging.getLogger(__name__)


def estimated_frame(atoms: Atoms, point: PhasePoint) -> Atoms:
    """A copy of atoms with the estimated energy and forces of a point, and a note of that.

    Parameters
    ----------
    atoms : ase.Atoms
        Where the point is. Their calculator is not asked.
    point : PhasePoint
        Of one molecule.
    """
    frame: Atoms = atoms.copy()
    energy, forces = float(point.physics.energy[0]), point.physics.forces
    if np.isfinite(energy):
        known = {} if forces is None else {"forces": forces.cpu().numpy().copy()}
        frame.calc = SinglePointCalculator(frame, energy=energy, **known)
        note_estimates(frame, True)
    return frame


def say_calls(corrector: Corrector, jump: Jump, k: int) -> None:
    """Say what averages along the flow of a calculator cost, before the run makes them.

    Parameters
    ----------
    corrector : Corrector
    jump : Jump
    k : int
        Base steps of a stride.
    """
    if not isinstance(corrector, Mollified) or not isinstance(jump, FlowJump):
        return
    calls = corrector.calls(k * jump.timestep)
    if calls and isinstance(jump.potential, CalculatorPotential | TorchSimPotential):
        _log.info(
            "corrector %r: %d calls of the cheap potential per stride beside the %d of the jump: "
            "Hessian products by central differences",
            corrector.name, calls, k,
        )  # fmt: skip
