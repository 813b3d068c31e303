"""One step of stride h = k * timestep: the palindrome O C J C O, with one physics evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from kstep_integrators.control import DynamicsFailed, Guard
from kstep_integrators.correctors import Correction, Corrector, kick
from kstep_integrators.evaluation import Physics
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.jumps.verlet import verlet_flow
from kstep_integrators.state import Evaluation, EvaluationFailed, PhaseState
from kstep_integrators.thermostats import Thermostat

__all__ = ["Carry", "Scheme", "StepInfo", "start", "step"]


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
    guard : Guard
    timestep : float
        Base step, ASE time units.
    """

    jump: BoundJump
    corrector: Corrector
    thermostat: Thermostat
    physics: Physics
    guard: Guard
    timestep: float


@dataclass(frozen=True)
class Carry:
    """A state with what is known at its positions, so that nothing is computed twice.

    Attributes
    ----------
    state : PhaseState
    physics : Evaluation
    inner : Evaluation or None
        The potential of the jump; None if it has none or it is not known yet.
    correction : Correction or None
        What the corrector made of both; None if it is not known yet.
    """

    state: PhaseState
    physics: Evaluation
    inner: Evaluation | None
    correction: Correction | None = None


@dataclass(frozen=True)
class StepInfo:
    """What one step did and how well the model predicted the physics.

    Attributes
    ----------
    evaluations : int
        Physics evaluations made.
    fallback : str or None
        Why the jump was undone and the stride made with physics steps; None if it stood.
    energy_error : (B,) Tensor or None
        Predicted minus physical change of the potential energy over the jump, eV.
    residual : (N, 3) Tensor or None
        F_physics - F_potential at the landing, eV/angstrom.
    jump_seconds, physics_seconds : float
        Wall-clock time; that of the corrector, Hessians included, counts to the jump.
    """

    evaluations: int
    fallback: str | None
    energy_error: Tensor | None
    residual: Tensor | None
    jump_seconds: float
    physics_seconds: float


def start(state: PhaseState, scheme: Scheme) -> Carry:
    """Evaluate the physics at the first state of a run: the one evaluation that is not a jump's.

    Raises
    ------
    EvaluationFailed
        If there is no energy and force at the start.
    """
    return Carry(state, scheme.physics(state), None)


def _attempt(carry: Carry, scheme: Scheme, k: int) -> tuple[Carry | None, str, dict[str, Any]]:
    """C J C with one evaluation; None and the reason if the jump does not stand."""
    state, physics = carry.state, carry.physics
    stride = k * scheme.timestep
    began = time.perf_counter()
    try:
        inner = carry.inner if carry.inner is not None else scheme.jump.begin(state)
        opening = carry.correction
        if opening is None or opening.stride != stride:
            opening = scheme.corrector(state, physics, inner, stride, scheme.jump)
        landed, info = scheme.jump(kick(state, opening), physics, inner, k)
    except EvaluationFailed as error:
        return None, f"potential: {error}", {"jump_seconds": time.perf_counter() - began}
    absurd = scheme.guard.check_jump(state, landed)
    seconds = {"jump_seconds": time.perf_counter() - began}
    if absurd:
        return None, absurd, seconds
    try:
        arrived = scheme.physics(landed)
    except EvaluationFailed as error:
        return None, str(error), seconds
    began = time.perf_counter()
    try:
        closing = scheme.corrector(landed, arrived, info.end, stride, scheme.jump)
    except EvaluationFailed as error:
        return None, f"potential: {error}", seconds
    finally:
        seconds["jump_seconds"] += time.perf_counter() - began
    done = kick(landed, closing)
    absurd = scheme.guard.check_energy(state, physics, done, arrived)
    if absurd:
        return None, absurd, seconds
    known: dict[str, Any] = dict(seconds)
    if info.start is not None and info.end is not None:
        predicted = info.end.energy - info.start.energy
        known["energy_error"] = predicted - (arrived.energy - physics.energy)
        if arrived.forces is not None and info.end.forces is not None:
            known["residual"] = arrived.forces - info.end.forces
    return Carry(done, arrived, info.end, closing), "", known


def _fallback(carry: Carry, scheme: Scheme, k: int, reason: str) -> Carry:
    """The stride by k velocity-Verlet steps of the physics, from where the jump had started."""

    def forces(positions: Tensor, _: Any) -> tuple[Evaluation, None]:
        return scheme.physics(carry.state.replace(positions=positions)), None

    try:
        state, arrived = verlet_flow(forces, carry.state, carry.physics, scheme.timestep, k)
    except EvaluationFailed as error:
        raise DynamicsFailed(
            f"the jump was undone ({reason}), and the physics failed on the {k} steps in its "
            f"place: {error}"
        ) from error
    absurd = scheme.guard.check_jump(carry.state, state)
    if absurd:
        raise DynamicsFailed(
            f"the jump was undone ({reason}), and the {k} physics steps in its place are absurd "
            f"too: {absurd}; the timestep may be too long, or the start far from equilibrium"
        )
    return Carry(state, arrived, None)


def step(carry: Carry, scheme: Scheme, k: int, rng: np.random.Generator) -> tuple[Carry, StepInfo]:
    """Advance by one stride.

    Parameters
    ----------
    carry : Carry
    scheme : Scheme
    k : int
        Base steps per stride.
    rng : numpy.random.Generator
        Source of the thermostat's noise.

    Returns
    -------
    carry : Carry
    info : StepInfo

    Raises
    ------
    DynamicsFailed
        If the jump does not stand and physics steps in its place fail too; ``carry`` is untouched.
    """
    stride = k * scheme.timestep
    evaluations, spent = scheme.physics.evaluations, scheme.physics.seconds
    heated = replace(carry, state=scheme.thermostat.half_step(carry.state, stride, rng))
    after, reason, known = _attempt(heated, scheme, k)
    if after is None:
        after = _fallback(heated, scheme, k, reason)
    cooled = scheme.thermostat.half_step(after.state, stride, rng)
    info = StepInfo(
        evaluations=scheme.physics.evaluations - evaluations,
        fallback=reason or None,
        energy_error=known.get("energy_error"),
        residual=known.get("residual"),
        jump_seconds=known["jump_seconds"],
        physics_seconds=scheme.physics.seconds - spent,
    )
    return replace(after, state=cooled), info
