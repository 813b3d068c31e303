"""The protocol of a corrector, and the frame that those of this package share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor

from kstep_integrators.jumps.base import Averaged, BoundJump
from kstep_integrators.mechanics.motion import kick
from kstep_integrators.state import Correction, Evaluation, PhaseState

__all__ = ["Corrector", "HalfKicks", "half_kick", "residual_force"]


class Corrector(Protocol):
    """A force that corrects the momenta around a jump, made of physics and potential.

    A function of positions only, so that half-kicks by it are reversible and keep volume.
    """

    @property
    def name(self) -> str:
        """As in :data:`kstep_integrators.correctors.CORRECTORS`."""
        ...

    @property
    def needs_forces(self) -> bool:
        """True if the physics must give forces."""
        ...

    @property
    def averages(self) -> bool:
        """True if the physics may be wanted at averaged positions, which :meth:`aim` gives."""
        ...

    @property
    def kicks_before(self) -> bool:
        """True for a half-kick before the jump too, and not after it only."""
        ...

    def aim(
        self, state: PhaseState, inner: Evaluation | None, stride: float, jump: BoundJump
    ) -> Averaged | None:
        """The averaged positions at which the physics is wanted; None for those of the state.

        Raises
        ------
        ValueError
            If the jump has no potential.
        EvaluationFailed
            If the potential fails.
        """
        ...

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The correction at one end of a jump.

        Parameters
        ----------
        state : PhaseState
        physics, inner : Evaluation
            The physics and the potential at its positions.
        stride : float
            Of the jump, ASE time units.
        jump : BoundJump
            For correctors that need more of the potential than its forces.

        Raises
        ------
        ValueError
            If the jump has no potential and the corrector needs one.
        EvaluationFailed
            If the potential fails.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Name and parameters, for trajectory files and checkpoints."""
        ...


class HalfKicks(ABC):
    """Half-kicks by one force around a jump: what the correctors of this package share."""

    name: str
    needs_forces: bool = True
    averages: bool = False
    kicks_before: bool = True

    @abstractmethod
    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Tensor | None:
        """The correcting force, (N, 3) eV/angstrom; None for no kick at all."""

    def aim(
        self, state: PhaseState, inner: Evaluation | None, stride: float, jump: BoundJump
    ) -> Averaged | None:
        """None: the physics is wanted at the positions of the state."""
        return None

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The correction at one end of a jump of the stride (ASE time units)."""
        return Correction(self.force(state, physics, inner, stride, jump), stride)

    def describe(self) -> dict[str, Any]:
        """Name."""
        return {"corrector": self.name}


def half_kick(state: PhaseState, correction: Correction) -> PhaseState:
    r"""Half-kick :math:`p \leftarrow p + \tfrac{h}{2} F`, constraints kept."""
    if correction.force is None:
        return state
    return kick(state, correction.force, 0.5 * correction.stride)


def residual_force(name: str, physics: Evaluation, inner: Evaluation | None) -> Tensor:
    """F_physics - F_potential, (N, 3) eV/angstrom.

    Raises
    ------
    ValueError
        If the jump has no potential; ``name`` is that of the corrector.
    """
    if inner is None:
        raise ValueError(f"the {name} corrector needs a jump with a potential, such as a flow")
    return physics.require_forces() - inner.require_forces()
