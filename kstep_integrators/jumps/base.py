"""The protocol of a jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from kstep_integrators.mechanics.averaging import Window
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState, Reasons

__all__ = ["Averaged", "BoundJump", "Jump", "JumpInfo"]


@dataclass(frozen=True)
class JumpInfo:
    """The report of a jump on itself.

    Attributes
    ----------
    steps : int
        Base steps travelled.
    start, end : Evaluation or None
        The potential at both ends; None for a jump that has no energy or forces of its own. A
        direct jump whose network predicts forces knows those at the end alone, and no energy.
    failures : dict of int to str
        Molecules that the jump could not lead anywhere, such as onto their fixed bond lengths, and
        why.
    """

    steps: int
    start: Evaluation | None
    end: Evaluation | None
    failures: Reasons = field(default_factory=dict)

    @property
    def energy_change(self) -> Tensor | None:
        """Predicted change of the potential energy, (B,) eV; None if nothing predicts it."""
        if self.start is None or self.end is None:
            return None
        return self.end.energy - self.start.energy


@dataclass(frozen=True)
class Averaged:
    """A state at averaged positions, and the potential there.

    Attributes
    ----------
    state : PhaseState
    inner : Evaluation
        Its ``failures`` are those on the way too.
    pull_back : callable
        Forces (N, 3) at the averaged positions -> (N, 3) at those that were averaged: times the
        transposed derivative of the average.
    """

    state: PhaseState
    inner: Evaluation
    pull_back: Callable[[Tensor], Tensor]


class BoundJump(Protocol):
    """A jump for one fixed set of atoms."""

    def begin(self, state: PhaseState) -> Evaluation | None:
        """The potential at the state, for the first corrector of a run; None if there is none."""
        ...

    def linearized(self, state: PhaseState) -> HessianProducts:
        """The Hessian of the potential at the state, for correctors that filter by it.

        Raises
        ------
        ValueError
            If the jump has no potential.
        EvaluationFailed
            There or when it is applied, if it cannot be computed.
        """
        ...

    def averaged(self, state: PhaseState, inner: Evaluation, window: Window) -> Averaged:
        """Positions averaged along the motion of the potential from rest at the state.

        Parameters
        ----------
        state : PhaseState
        inner : Evaluation
            The potential there.
        window : Window

        Raises
        ------
        ValueError
            If the jump has no potential.
        EvaluationFailed
            If the potential fails as a whole, here or when a force is pulled back.
        """
        ...

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        """Advance by k base steps.

        Parameters
        ----------
        state : PhaseState
        physics : Evaluation
            The physics at the positions of ``state``.
        inner : Evaluation or None
            The potential there, as the last jump or :meth:`begin` left it: never computed twice.
        k : int
            One of the jump's ``allowed_k``.
        """
        ...


@runtime_checkable
class Jump(Protocol):
    """A way to advance any system it covers."""

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the jump; states are moved there once per jump, not once per base step."""
        ...

    @property
    def correctors(self) -> tuple[str, ...]:
        """Names of the correctors that may stand around it; the first is the default."""
        ...

    @property
    def allowed_k(self) -> tuple[int, ...] | None:
        """Base steps that a jump may have; None for any number."""
        ...

    @property
    def predicts(self) -> tuple[str, ...]:
        """Predicted quantities at a landing: ``"energy"`` (its change), ``"forces"``."""
        ...

    @property
    def needs_forces(self) -> bool:
        """True for a jump that takes the physical forces where it starts."""
        ...

    @property
    def reversible(self) -> bool:
        """True for a time-reversible, volume-preserving jump, as a Metropolis test requires."""
        ...

    def bind(self, state: PhaseState) -> BoundJump:
        """Check that the jump covers these atoms and prepare for them.

        Raises
        ------
        ValueError
            If it does not.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Description for logs, checkpoints and restart files."""
        ...
