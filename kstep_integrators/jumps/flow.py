"""Flow jump: k velocity-Verlet steps on a potential, all of them on its device."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from kstep_integrators.arguments import SetOnce, positive_number
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import Averaged, BoundJump, JumpInfo
from kstep_integrators.mechanics.averaging import Window, average, average_adjoint
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import (
    BoundPotential,
    Evaluation,
    FlowPotential,
    HessianProducts,
    PhaseState,
    Reasons,
    inverse_masses,
)

__all__ = ["FlowJump"]


class _BoundFlow:
    """A flow for one set of atoms."""

    def __init__(self, forces: BoundPotential, timestep: float, device: torch.device) -> None:
        self.forces, self.timestep, self.device = forces, timestep, device

    def begin(self, state: PhaseState) -> Evaluation:
        with torch.no_grad():
            return self.forces(state.positions.to(self.device), None)[0]

    def linearized(self, state: PhaseState) -> HessianProducts:
        return self.forces.linearized(state.positions.to(self.device))

    def averaged(self, state: PhaseState, inner: Evaluation, window: Window) -> Averaged:
        rate = window.timestep**2 * inverse_masses(state)
        with torch.no_grad():
            mean = average(self.forces, state.positions, inner, rate, window)
            there, _ = self.forces(mean.positions, None)

        def pull_back(force: Tensor) -> Tensor:
            return average_adjoint(self.forces, mean.path, rate, window, force)

        there = replaced(there, failures={**there.failures, **mean.failures})
        return Averaged(state.replace(positions=mean.positions), there, pull_back)

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        with torch.no_grad():
            start = inner if inner is not None else self.begin(state)
            failures: Reasons = {}
            unconstrained = state.bonds is None and not state.fix_com
            # Not isinstance: of a protocol it takes as long as a force of a small molecule.
            if unconstrained and hasattr(self.forces, "flow"):
                whole = cast(FlowPotential, self.forces)
                new, end = whole.flow(state, start, self.timestep, k)
            else:
                new, end, failures = verlet_flow(self.forces, state, start, self.timestep, k)
        return new, JumpInfo(k, start, end, failures)


class FlowJump(SetOnce):
    """Velocity Verlet on a cheap potential; any k, any base step.

    Parameters
    ----------
    potential : Potential
    timestep : float, optional
        Base step in ASE time units; the potential's own by default.

    Raises
    ------
    ValueError
        If the timestep is not positive. Attributes cannot be changed: AttributeError.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, FlowJump, units
    >>> potential = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.1))
    >>> jump = FlowJump(potential, timestep=0.5 * units.FS)
    >>> jump.correctors, jump.reversible
    (('impulse', 'filtered', 'mollified', 'none'), True)
    """

    correctors = ("impulse", "filtered", "mollified", "none")
    allowed_k = None
    predicts = ("energy", "forces")
    needs_forces = False
    reversible = True

    def __init__(self, potential: Potential, timestep: float | None = None) -> None:
        if isinstance(potential, type) or not hasattr(potential, "bind"):
            raise TypeError(
                f"potential is {potential!r}, expected one such as load_model(...) or "
                "CalculatorPotential(calculator)"
            )
        timestep = potential.timestep if timestep is None else timestep
        self.potential = potential
        self.timestep = positive_number("timestep", timestep, "base step in ASE time units")

    @property
    def device(self) -> torch.device:
        """Device of the potential."""
        return self.potential.device

    def bind(self, state: PhaseState) -> BoundJump:
        """Prepare for one set of atoms; refuses what the potential does not cover."""
        return _BoundFlow(self.potential.bind(state), self.timestep, self.device)

    def describe(self) -> dict[str, Any]:
        """Kind, base step and potential."""
        return {"jump": "flow", "timestep": self.timestep, **self.potential.describe()}
