"""The filtered corrector: half-kicks that leave the stiff modes of the potential alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kstep_integrators.arguments import SetOnce, whole_number
from kstep_integrators.correctors.base import HalfKicks, residual_force
from kstep_integrators.correctors.filters import FILTERS
from kstep_integrators.correctors.modes import filtered
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["Filtered"]


class Filtered(SetOnce, HalfKicks):
    r"""Half-kicks by the residual without the stiff modes of the potential.

    :math:`p \leftarrow p + \tfrac{h}{2} M^{1/2} U f(\omega h) U^T M^{-1/2}
    (F_{physics} - F_{potential})`, with the mass-weighted Hessian
    :math:`M^{-1/2} H M^{-1/2} = U \omega^2 U^T` of the potential at the same positions. Modes whose
    frequency is imaginary are slow: f = 1. It cannot resonate with bond stretches; reversible and
    volume-preserving, but not symplectic. A simplification, with the physics at the true positions,
    of the mollified impulse method: García-Archilla, Sanz-Serna & Skeel,
    doi:10.1137/S1064827596313851.

    Translations and rotations are projected out exactly: the kick has no net force and no net
    torque, whatever the residual has. **A physics that does exert some on the whole system, such as
    an external field, needs** :class:`Impulse`. With fixed atoms or in a cell only those motions
    are projected out that the constraints and the cell leave free (see
    :func:`kstep_integrators.mechanics.rigid_motions.rigid_motions`).

    Parameters
    ----------
    filter_name : str
        A key of :data:`kstep_integrators.correctors.filters.FILTERS`.
    dense_limit : int
        Molecules of more atoms take a Krylov space of Hessian-vector products in place of all
        eigenvectors.

    Raises
    ------
    ValueError
        If there is no filter of that name, or the limit is no whole number. Attributes cannot be
        changed: AttributeError.

    Notes
    -----
    One Hessian per stride. A network computes it by automatic differentiation, a
    :class:`kstep_integrators.potentials.calculator.CalculatorPotential` by central differences: 6
    force calls for each atom that moves, of the cheap calculator.
    """

    name = "filtered"

    def __init__(self, filter_name: str = "octic", dense_limit: int = 32) -> None:
        if str(filter_name) not in FILTERS:
            raise ValueError(
                f"filter_name: unknown filter {filter_name!r}; choose one of {sorted(FILTERS)}"
            )
        self.filter_name, self.filter = filter_name, FILTERS[filter_name]
        self.dense_limit = whole_number("dense_limit", dense_limit, "atoms of the largest molecule")

    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Tensor:
        """The filtered residual."""
        residual = residual_force(self.name, physics, inner)

        def function(squares: Tensor) -> Tensor:
            return self.filter(stride * squares.clamp(min=0.0).sqrt())

        return filtered(jump.linearized(state), state, residual, function, self.dense_limit)

    def describe(self) -> dict[str, Any]:
        """Name, filter and limit."""
        return {
            "corrector": self.name,
            "filter_name": self.filter_name,
            "dense_limit": self.dense_limit,
        }
