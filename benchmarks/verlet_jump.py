"""Velocity Verlet at the stride, as a jump: the control that takes the place of a direct jump."""

from __future__ import annotations

from typing import Any

import torch

from kstep_integrators.jumps.base import JumpInfo
from kstep_integrators.mechanics.motion import constrain, drift, kick
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["VerletJump"]


class VerletJump:
    """Half-kick and drift, before the half-kick of the corrector ``delta``; RATTLE.

    Parameters
    ----------
    timestep : float
        Base step, ASE time units: what a stride is divided into when it is undone.
    """

    correctors = ("delta",)
    allowed_k = None
    predicts = ()
    needs_forces = True
    reversible = True
    device = torch.device("cpu")

    def __init__(self, timestep: float) -> None:
        self.timestep = timestep

    def bind(self, state: PhaseState) -> VerletJump:
        """Nothing is prepared."""
        return self

    def begin(self, state: PhaseState) -> None:
        """There is no potential."""

    def linearized(self, state: PhaseState) -> HessianProducts:
        """There is no Hessian."""
        raise ValueError("velocity Verlet has no potential of its own, and so no Hessian")

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        """Half-kick and drift."""
        stride = k * self.timestep
        opened = kick(state, physics.require_forces(), 0.5 * stride)
        landed, failures = drift(opened, stride)
        landed = landed.replace(time=state.time + stride)
        momenta = constrain(landed, landed.momenta)
        return landed.replace(momenta=momenta), JumpInfo(k, None, None, failures)

    def describe(self) -> dict[str, Any]:
        """Kind and base step."""
        return {"jump": "verlet", "timestep": self.timestep}
