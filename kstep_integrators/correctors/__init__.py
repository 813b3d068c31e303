"""C: how the residual between physics and potential corrects the momenta around a jump."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from kstep_integrators.correctors.filters import FILTERS
from kstep_integrators.correctors.modes import filtered
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import Correction, Evaluation, PhaseState

__all__ = [
    "CORRECTORS",
    "Corrector",
    "Delta",
    "Filtered",
    "Impulse",
    "NoCorrection",
    "kick",
    "make_corrector",
    "restore_corrector",
]


class Corrector(Protocol):
    """What the residual at one geometry makes of itself as a correcting force.

    A function of positions only, so that half-kicks by it are reversible and keep volume.
    """

    @property
    def name(self) -> str:
        """As in :data:`CORRECTORS`."""
        ...

    @property
    def needs_forces(self) -> bool:
        """Whether the physics must give forces."""
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


def kick(state: PhaseState, correction: Correction) -> PhaseState:
    r"""Half-kick :math:`p \leftarrow p + \tfrac{h}{2} F`, constraints kept."""
    if correction.force is None:
        return state
    kicked = state.momenta + 0.5 * correction.stride * correction.force
    return state.replace(momenta=constrain(state, kicked))


def _residual(name: str, physics: Evaluation, inner: Evaluation | None) -> Tensor:
    if inner is None:
        raise ValueError(f"the {name} corrector needs a jump with a potential, such as a flow")
    return physics.require_forces() - inner.require_forces()


class Impulse:
    r"""Residual half-kicks: :math:`p \leftarrow p + \tfrac{h}{2}(F_{physics} - F_{potential})`.

    Around a flow this is the impulse method (Verlet-I, r-RESPA) whose inner force is the potential:
    symplectic and time-reversible. Tuckerman, Berne & Martyna, doi:10.1063/1.463137. It resonates
    with bond stretches at strides beyond about 3 fs.
    """

    name = "impulse"
    needs_forces = True

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The residual."""
        return Correction(_residual(self.name, physics, inner), stride)

    def describe(self) -> dict[str, Any]:
        """Name."""
        return {"corrector": self.name}


class Filtered:
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
        If there is no filter of that name.

    Notes
    -----
    One Hessian per stride. A network computes it by automatic differentiation, a
    :class:`kstep_integrators.potentials.calculator.CalculatorPotential` by central differences: 6
    force calls for each atom that moves, of the cheap calculator.
    """

    name = "filtered"
    needs_forces = True

    def __init__(self, filter_name: str = "octic", dense_limit: int = 32) -> None:
        if filter_name not in FILTERS:
            raise ValueError(f"unknown filter {filter_name!r}; choose one of {sorted(FILTERS)}")
        self.filter_name, self.filter = filter_name, FILTERS[filter_name]
        self.dense_limit = dense_limit

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The filtered residual."""
        residual = _residual(self.name, physics, inner)

        def function(squares: Tensor) -> Tensor:
            return self.filter(stride * squares.clamp(min=0.0).sqrt())

        force = filtered(jump.linearized(state), state, residual, function, self.dense_limit)
        return Correction(force, stride)

    def describe(self) -> dict[str, Any]:
        """Name, filter and limit."""
        return {
            "corrector": self.name,
            "filter_name": self.filter_name,
            "dense_limit": self.dense_limit,
        }


class Delta:
    r"""Half-kicks by the whole physical force: :math:`p \leftarrow p + \tfrac{h}{2} F_{physics}`.

    The first and last part of velocity Verlet at the stride, around a direct jump that drifts and
    adds what it has learned to be missing.
    """

    name = "delta"
    needs_forces = True

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The physical force."""
        return Correction(physics.require_forces(), stride)

    def describe(self) -> dict[str, Any]:
        """Name."""
        return {"corrector": self.name}


class NoCorrection:
    """The jump alone; the evaluation serves the energy, the guard and the label."""

    name = "none"
    needs_forces = False

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """No force."""
        return Correction(None, stride)

    def describe(self) -> dict[str, Any]:
        """Name."""
        return {"corrector": self.name}


CORRECTORS: dict[str, type[Delta] | type[Filtered] | type[Impulse] | type[NoCorrection]] = {
    "delta": Delta,
    "filtered": Filtered,
    "impulse": Impulse,
    "none": NoCorrection,
}
"""Correctors by name."""

_WHY = {
    "delta": (
        "it has learned what velocity Verlet with the whole physical force at both ends leaves "
        "out, so that any other kick counts forces twice or not at all"
    ),
    "impulse": (
        "it integrates the forces of a potential, and a kick may hold no more than what they "
        "leave out"
    ),
    "none": "it has learned the whole motion, so that any kick counts forces twice",
}
"""Why a jump takes no others, by the first that it takes."""


def make_corrector(corrector: str | Corrector, allowed: tuple[str, ...]) -> Corrector:
    """The corrector of that name, or the one given.

    Parameters
    ----------
    corrector : str or Corrector
        A name for its defaults.
    allowed : tuple of str
        Names the jump takes.

    Raises
    ------
    ValueError
        If there is none of that name, or the jump cannot take it.
    """
    name = corrector if isinstance(corrector, str) else corrector.name
    if name not in CORRECTORS:
        raise ValueError(f"unknown corrector {name!r}; choose one of {sorted(CORRECTORS)}")
    if name not in allowed:
        why = f": {_WHY[allowed[0]]}" if allowed[0] in _WHY else ""
        raise ValueError(
            f"this jump cannot take the corrector {name!r}; it takes {list(allowed)}{why}"
        )
    return CORRECTORS[name]() if isinstance(corrector, str) else corrector


def restore_corrector(described: dict[str, Any]) -> Corrector:
    """The corrector that described itself so."""
    parameters = dict(described)
    return CORRECTORS[parameters.pop("corrector")](**parameters)
