"""A jump that is seen inside: spectra of long strides need frames that no stride ends at."""

from __future__ import annotations

from typing import Any

import torch

from kstep_integrators.jumps.base import BoundJump, Jump, JumpInfo
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["WatchedJump"]


class WatchedJump:
    """A jump made in equal parts.

    A flow is velocity Verlet, whose steps know nothing of the jump they are in: the landing is the
    same to the last bit.

    Parameters
    ----------
    jump : Jump
    part : int
        Base steps between two states that are kept; of a direct jump, all of its own.

    Attributes
    ----------
    inside : list of PhaseState
        States inside the last jump, without its ends.
    """

    def __init__(self, jump: Jump, part: int) -> None:
        self.jump, self.part = jump, part
        self.inside: list[PhaseState] = []

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self.jump.timestep

    @property
    def device(self) -> torch.device:
        """Where the jump runs."""
        return self.jump.device

    @property
    def correctors(self) -> tuple[str, ...]:
        """Those of the jump."""
        return self.jump.correctors

    @property
    def allowed_k(self) -> tuple[int, ...] | None:
        """Those of the jump."""
        return self.jump.allowed_k

    @property
    def predicts(self) -> tuple[str, ...]:
        """What the jump does."""
        return self.jump.predicts

    @property
    def needs_forces(self) -> bool:
        """Whether the jump does."""
        return self.jump.needs_forces

    @property
    def reversible(self) -> bool:
        """Whether the jump is."""
        return self.jump.reversible

    def describe(self) -> dict[str, Any]:
        """That of the jump."""
        return self.jump.describe()

    def bind(self, state: PhaseState) -> BoundJump:
        """The jump for one set of atoms."""
        return _BoundWatched(self, self.jump.bind(state))


class _BoundWatched:
    def __init__(self, owner: WatchedJump, jump: BoundJump) -> None:
        self.owner, self.jump = owner, jump

    def begin(self, state: PhaseState) -> Evaluation | None:
        return self.jump.begin(state)

    def linearized(self, state: PhaseState) -> HessianProducts:
        return self.jump.linearized(state)

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        inside: list[PhaseState] = []
        first: Evaluation | None = None
        done = 0
        while True:
            part = min(self.owner.part, k - done)
            state, info = self.jump(state, physics, inner, part)
            first, inner, done = first or info.start, info.end, done + part
            if done == k:
                self.owner.inside = inside
                return state, JumpInfo(k, first, info.end)
            inside.append(state)
