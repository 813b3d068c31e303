"""The correctors that look at forces alone: impulse, delta, and none."""

from __future__ import annotations

from torch import Tensor

from kstep_integrators.correctors.base import HalfKicks, residual_force
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["Delta", "Impulse", "NoCorrection"]


class Impulse(HalfKicks):
    r"""Residual half-kicks: :math:`p \leftarrow p + \tfrac{h}{2}(F_{physics} - F_{potential})`.

    Around a flow this is the impulse method (Verlet-I, r-RESPA) whose inner force is the potential:
    symplectic and time-reversible. Tuckerman, Berne & Martyna, doi:10.1063/1.463137. It resonates
    with bond stretches at strides beyond about 3 fs.
    """

    name = "impulse"

    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Tensor:
        """The residual."""
        return residual_force(self.name, physics, inner)


class Delta(HalfKicks):
    r"""A half-kick by the whole physical force: :math:`p \leftarrow p + \tfrac{h}{2} F_{physics}`.

    The last part of velocity Verlet at the stride. The first part, the half-kick at the start, is
    in the direct jump itself, which predicts what Verlet leaves out.
    """

    name = "delta"
    kicks_before = False

    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Tensor:
        """The physical force."""
        return physics.require_forces()


class NoCorrection(HalfKicks):
    """The jump alone; the evaluation serves the energy, the guard and the label."""

    name = "none"
    needs_forces = False

    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> None:
        """No force."""
