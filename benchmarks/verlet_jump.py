"""Velocity Verlet at the stride, as a jump: the control that takes the place of a direct jump."""

from __future__ import annotations

from typing import Any

import torch

from kstep_integrators.jumps.base import JumpInfo
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["VerletJump"]


class VerletJump:
    """The drift between the two half-kicks of the corrector ``delta``; with fixed bonds RATTLE.

    Parameters
    ----------
    timestep : float
        Base step, ASE time units: what a stride is divided into when it is undone.
    """

    correctors = ("delta",)
    strides = None
    predicts = ()
    needs_forces = False
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
        """Drift."""
        drift = k * self.timestep / state.masses
        shaken = shake(state, state.positions + drift * state.momenta)
        landed = state.replace(positions=shaken.positions, time=state.time + k * self.timestep)
        momenta = constrain(landed, state.momenta + shaken.displacement / drift)
        return landed.replace(momenta=momenta), JumpInfo(k, None, None, shaken.failures)

    def describe(self) -> dict[str, Any]:
        """Kind and base step."""
        return {"jump": "verlet", "timestep": self.timestep}
