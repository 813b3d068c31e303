"""C: how the residual between physics and potential corrects the momenta around a jump."""

from __future__ import annotations

from typing import Protocol

from kstep_integrators.state import Evaluation, PhaseState, constrain

__all__ = ["CORRECTORS", "Corrector", "Impulse", "NoCorrection", "make_corrector"]


class Corrector(Protocol):
    """Changes momenta only, before and after a jump of stride h."""

    name: str
    needs_forces: bool

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, stride: float
    ) -> PhaseState:
        """The half-correction at one end of a jump.

        Parameters
        ----------
        state : PhaseState
        physics, inner : Evaluation
            The physics and the potential at its positions.
        stride : float
            Of the jump, ASE time units.
        """
        ...


class Impulse:
    r"""Residual half-kick: :math:`p \leftarrow p + \tfrac{h}{2}(F_{physics} - F_{potential})`.

    Around a flow this is the impulse method (Verlet-I, r-RESPA) whose inner force is the potential:
    symplectic and time-reversible. Tuckerman, Berne & Martyna, doi:10.1063/1.463137. It resonates
    with bond stretches at strides beyond about 3 fs.
    """

    name = "impulse"
    needs_forces = True

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, stride: float
    ) -> PhaseState:
        """Half-kick by the residual."""
        if inner is None:
            raise ValueError("the impulse corrector needs a jump with a potential, such as a flow")
        residual = physics.require_forces() - inner.require_forces()
        kicked = state.momenta + 0.5 * stride * residual
        return state.replace(momenta=constrain(state, kicked))


class NoCorrection:
    """The jump alone; the evaluation serves the energy, the guard and the label."""

    name = "none"
    needs_forces = False

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, stride: float
    ) -> PhaseState:
        """The state as it is."""
        return state


CORRECTORS: dict[str, type[Corrector]] = {"impulse": Impulse, "none": NoCorrection}
"""Correctors by name."""


def make_corrector(name: str, allowed: tuple[str, ...]) -> Corrector:
    """The corrector of that name.

    Parameters
    ----------
    name : str
    allowed : tuple of str
        Names the jump takes.

    Raises
    ------
    ValueError
        If there is none of that name, or the jump cannot take it.
    """
    if name not in CORRECTORS:
        raise ValueError(f"unknown corrector {name!r}; choose one of {sorted(CORRECTORS)}")
    if name not in allowed:
        raise ValueError(f"this jump cannot take the corrector {name!r}; it takes {list(allowed)}")
    return CORRECTORS[name]()
