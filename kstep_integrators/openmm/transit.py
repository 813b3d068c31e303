"""What a Context has said and not yet been told, from one stage of a step to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kstep_integrators.mechanics.bond_watch import Topology
from kstep_integrators.openmm.bonds import BondMemory
from kstep_integrators.openmm.particles import Array
from kstep_integrators.physics.store import EvaluationStore
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["Transit"]

_KEPT = 8
"""Landings whose potential is remembered: those that a Metropolis test may come back to."""


@dataclass(frozen=True)
class Transit:
    """Where a step stands.

    Attributes
    ----------
    positions : (N, 3) float64, nm, or None
        Last taken, or landed at.
    state : PhaseState or None
        There; the solute in one piece, if there is a periodic box.
    forces : (N, 3) Tensor, eV/angstrom, or None
        The physics there, if the jump was told.
    inner : Evaluation or None
        The potential there, if it is known.
    velocities : (N, 3) float64, nm/ps, or None
        Change of the velocities by the jump.
    predicted : float
        Change of the potential's energy over it, kJ/mol.
    box : (3, 3) float64, nm, or None
        Periodic box vectors as rows, if there is one.
    problem : BaseException or None
        To be raised as soon as the Context is in order.
    seconds : float
        Spent in jumps and correctors since the integrator last asked.
    known : EvaluationStore
        The potential at the last landings.
    bonds : Topology or None
        Where the step began; None before it has.
    bonded : BondMemory
        The bonds at the last landings.
    """

    positions: Array | None = None
    state: PhaseState | None = None
    forces: Tensor | None = None
    inner: Evaluation | None = None
    velocities: Array | None = None
    predicted: float = 0.0
    box: Array | None = None
    problem: BaseException | None = None
    seconds: float = 0.0
    known: EvaluationStore[Evaluation] = field(default_factory=lambda: EvaluationStore(_KEPT))
    bonds: Topology | None = None
    bonded: BondMemory = field(default_factory=BondMemory)

    def here(self) -> tuple[Array, PhaseState]:
        """Positions and state.

        Raises
        ------
        RuntimeError
            If no positions were taken.
        """
        if self.positions is None or self.state is None:
            raise RuntimeError(
                "a stage of a jump came without the positions before it: the program of the "
                "integrator was changed, or another integrator sets kstep_stage"
            )
        return self.positions, self.state

    def physics(self) -> Evaluation:
        """The physical forces here, as far as the jump was told; their energy is not known."""
        _, state = self.here()
        return Evaluation(torch.full_like(state.time, math.nan), self.forces)
