"""The parts that a step is composed of, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from kstep_integrators.correctors import Corrector
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.physics.evaluation import Physics
from kstep_integrators.state import Reasons
from kstep_integrators.step.guard import Control
from kstep_integrators.step.metropolis import Metropolis, Verdict
from kstep_integrators.thermostats import Thermostat

__all__ = ["Scheme", "StepInfo"]


@dataclass(frozen=True)
class Scheme:
    """The parts that a step is composed of.

    Attributes
    ----------
    jump : BoundJump
        J.
    corrector : Corrector
        C.
    thermostat : Thermostat
        O.
    physics : Physics
    timestep : float
        Base step, ASE time units.
    control : Control
        Not asked under a Metropolis test, which alone decides there.
    metropolis : Metropolis or None
        { }.
    shortest : int
        Base steps of the shortest jump that a stride may be divided into.
    """

    jump: BoundJump
    corrector: Corrector
    thermostat: Thermostat
    physics: Physics
    timestep: float
    control: Control = field(default_factory=Control)
    metropolis: Metropolis | None = None
    shortest: int = 1

    @property
    def needs_forces(self) -> bool:
        """Whether an energy is too little; without a test the residual is watched."""
        return self.corrector.needs_forces or self.metropolis is None


@dataclass(frozen=True)
class StepInfo:
    """What one step did and how well the model predicted the physics.

    Attributes
    ----------
    evaluations : int
        Physics evaluations made, of all molecules.
    fallbacks : dict of int to str
        Molecules whose jump was undone and made with physics steps, and why.
    shrinks : int
        How often the stride was halved in this step.
    exceeded : dict of int to str
        Molecules beyond the tolerances whose jump stands, under ``on_error="warn"``.
    failures : dict of int to str
        Molecules with a proposal under a Metropolis test that had no energy and was rejected for
        it.
    lost : dict of int to str
        Molecules that could not be advanced at all and are where they were before the step.
        **Whoever calls the step must look at it.**
    reason : str or None
        The last cause for any of these.
    energy_error : (B,) Tensor or None
        Predicted minus physical change of the potential energy over the jump, eV; NaN for
        molecules whose jump was undone.
    residual : (N, 3) Tensor or None
        F_physics - F_potential at the landing, eV/angstrom; NaN likewise.
    heat : (B,) Tensor or None
        What the thermostat changed the kinetic energy by in its two half-steps, eV; None without
        a thermostat. The total energy minus the sum of it over a run is conserved.
    jump_seconds, physics_seconds : float
        Wall-clock time; that of the corrector, Hessians included, counts to the jump.
    verdict : Verdict or None
        Of the Metropolis test; None without one. Error and residual are then those of the first
        proposal.
    """

    evaluations: int = 0
    fallbacks: Reasons = field(default_factory=dict)
    shrinks: int = 0
    exceeded: Reasons = field(default_factory=dict)
    failures: Reasons = field(default_factory=dict)
    lost: Reasons = field(default_factory=dict)
    reason: str | None = None
    energy_error: Tensor | None = None
    residual: Tensor | None = None
    heat: Tensor | None = None
    jump_seconds: float = 0.0
    physics_seconds: float = 0.0
    verdict: Verdict | None = None
