"""Evaluations of a step, counted where they are made."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from kstep_integrators.physics.protocol import Physics
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["Meter"]


class Meter:
    """The physics of one step, with the sum of its costs, which an interrupt leaves readable.

    Parameters
    ----------
    physics : Physics
    molecules : int
        Of the states that are evaluated.

    Attributes
    ----------
    evaluations : (B,) int64 array
    seconds : float
    """

    def __init__(self, physics: Physics, molecules: int) -> None:
        self.physics = physics
        self.evaluations = np.zeros(molecules, dtype=np.int64)
        self.seconds = 0.0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Evaluate, and add the cost; see :class:`~kstep_integrators.physics.protocol.Physics`."""
        evaluation, cost = self.physics(state, forces, which)
        self.evaluations = self.evaluations + cost.evaluations
        self.seconds += cost.seconds
        return evaluation
