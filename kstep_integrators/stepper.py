"""One step of stride h = k * timestep: O C J C O, or O { C J C } O with a Metropolis test."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kstep_integrators.control import DynamicsFailed, Guard
from kstep_integrators.correctors import Corrector, kick
from kstep_integrators.evaluation import Physics
from kstep_integrators.jumps.base import BoundJump, JumpInfo
from kstep_integrators.jumps.verlet import verlet_flow
from kstep_integrators.metropolis import Metropolis, Verdict, metropolized
from kstep_integrators.state import Carry, Evaluation, EvaluationFailed, PhaseState, kinetic_energy
from kstep_integrators.thermostats import Thermostat

__all__ = ["Scheme", "StepInfo", "start", "step"]


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
        Not asked under a Metropolis test, which alone decides there.
    timestep : float
        Base step, ASE time units.
    metropolis : Metropolis or None
        { }.
    """

    jump: BoundJump
    corrector: Corrector
    thermostat: Thermostat
    physics: Physics
    guard: Guard
    timestep: float
    metropolis: Metropolis | None = None

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
        Physics evaluations made.
    fallback : str or None
        Why the jump was undone and the stride made with physics steps; None if it stood.
    energy_error : (B,) Tensor or None
        Predicted minus physical change of the potential energy over the jump, eV.
    residual : (N, 3) Tensor or None
        F_physics - F_potential at the landing, eV/angstrom.
    heat : (B,) Tensor or None
        What the thermostat changed the kinetic energy by in its two half-steps, eV; None without
        a thermostat. The total energy minus the sum of it over a run is conserved.
    jump_seconds, physics_seconds : float
        Wall-clock time; that of the corrector, Hessians included, counts to the jump.
    failure : str or None
        Why a proposal under a Metropolis test had no energy and was rejected for it.
    verdict : Verdict or None
        Of the Metropolis test; None without one. Error and residual are then those of the first
        proposal.
    """

    evaluations: int = 0
    fallback: str | None = None
    energy_error: Tensor | None = None
    residual: Tensor | None = None
    heat: Tensor | None = None
    jump_seconds: float = 0.0
    physics_seconds: float = 0.0
    failure: str | None = None
    verdict: Verdict | None = None


def start(state: PhaseState, scheme: Scheme) -> Carry:
    """Evaluate the physics at the first state of a run: the one evaluation that is not a jump's.

    Raises
    ------
    EvaluationFailed
        If there is no energy and force at the start.
    """
    return Carry(state, scheme.physics(state, scheme.needs_forces), None)


@dataclass(frozen=True)
class _Landing:
    """A stride C J C that has been made, with what it says of the model."""

    carry: Carry
    info: JumpInfo
    jump_seconds: float

    def energy_error(self, before: Evaluation) -> Tensor | None:
        """Predicted minus physical change of the potential energy, (B,) eV."""
        start, end = self.info.start, self.info.end
        if start is None or end is None:
            return None
        return (end.energy - start.energy) - (self.carry.physics.energy - before.energy)

    def residual(self) -> Tensor | None:
        """F_physics - F_potential at the landing, (N, 3) eV/angstrom."""
        end, physics = self.info.end, self.carry.physics
        if end is None or end.forces is None or physics.forces is None:
            return None
        return physics.forces - end.forces


class _Undone(Exception):
    """A stride that does not stand."""

    def __init__(self, reason: str, jump_seconds: float) -> None:
        super().__init__(reason)
        self.jump_seconds = jump_seconds


def _stride(carry: Carry, scheme: Scheme, k: int, guard: Guard | None) -> _Landing:
    """C J C with one evaluation.

    Raises
    ------
    _Undone
        If potential or physics fail, or the guard finds it absurd.
    """
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
        raise _Undone(f"potential: {error}", time.perf_counter() - began) from error
    absurd = guard.check_jump(state, landed) if guard is not None else None
    seconds = time.perf_counter() - began
    if absurd:
        raise _Undone(absurd, seconds)
    try:
        arrived = scheme.physics(landed, scheme.needs_forces)
    except EvaluationFailed as error:
        raise _Undone(str(error), seconds) from error
    began = time.perf_counter()
    try:
        closing = scheme.corrector(landed, arrived, info.end, stride, scheme.jump)
    except EvaluationFailed as error:
        seconds += time.perf_counter() - began
        raise _Undone(f"potential: {error}", seconds) from error
    seconds += time.perf_counter() - began
    done = kick(landed, closing)
    absurd = guard.check_energy(state, physics, done, arrived) if guard is not None else None
    if absurd:
        raise _Undone(absurd, seconds)
    return _Landing(Carry(done, arrived, info.end, closing), info, seconds)


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


def _bathe(
    carry: Carry, scheme: Scheme, stride: float, rng: np.random.Generator
) -> tuple[Carry, Tensor | None]:
    """O, and the heat it put in; None if there is no bath."""
    state = scheme.thermostat.half_step(carry.state, stride, rng)
    if state is carry.state:
        return carry, None
    heat = kinetic_energy(state) - kinetic_energy(carry.state)
    return dataclasses.replace(carry, state=state), heat


def step(carry: Carry, scheme: Scheme, k: int, rng: np.random.Generator) -> tuple[Carry, StepInfo]:
    """Advance by one stride, or try to.

    Parameters
    ----------
    carry : Carry
    scheme : Scheme
    k : int
        Base steps per stride.
    rng : numpy.random.Generator
        Source of the thermostat's noise and of the Metropolis test.

    Returns
    -------
    carry : Carry
    info : StepInfo

    Raises
    ------
    DynamicsFailed
        If the jump does not stand and physics steps in its place fail too; ``carry`` is untouched.
    ValueError
        If the thermostat cannot act on the state.
    """
    stride = k * scheme.timestep
    evaluations, spent = scheme.physics.evaluations, scheme.physics.seconds
    heated, before = _bathe(carry, scheme, stride, rng)
    if scheme.metropolis is None:
        after, info = _corrected(heated, scheme, k)
    else:
        after, info = _tested(heated, scheme, scheme.metropolis, k, rng)
    done, behind = _bathe(after, scheme, stride, rng)
    info = dataclasses.replace(
        info,
        heat=None if before is None or behind is None else before + behind,
        evaluations=scheme.physics.evaluations - evaluations,
        physics_seconds=scheme.physics.seconds - spent,
    )
    return done, info


def _corrected(carry: Carry, scheme: Scheme, k: int) -> tuple[Carry, StepInfo]:
    """C J C under the guard; physics steps in its place if it does not stand."""
    try:
        landing = _stride(carry, scheme, k, scheme.guard)
    except _Undone as undone:
        after = _fallback(carry, scheme, k, str(undone))
        return after, StepInfo(fallback=str(undone), jump_seconds=undone.jump_seconds)
    return landing.carry, StepInfo(
        energy_error=landing.energy_error(carry.physics),
        residual=landing.residual(),
        jump_seconds=landing.jump_seconds,
    )


def _tested(
    carry: Carry, scheme: Scheme, rule: Metropolis, k: int, rng: np.random.Generator
) -> tuple[Carry, StepInfo]:
    """{ C J C }: accepted or rejected by the physics, and by nothing else."""
    first: list[_Landing] = []
    seconds = 0.0
    failure: str | None = None

    def advance(here: Carry) -> Carry:
        nonlocal seconds, failure
        try:
            landing = _stride(here, scheme, k, None)
        except _Undone as undone:
            seconds += undone.jump_seconds
            failure = str(undone)
            nowhere = torch.full_like(here.physics.energy, math.inf)
            return Carry(here.state, Evaluation(nowhere, None), here.inner)
        seconds += landing.jump_seconds
        if not first:
            first.append(landing)
        return landing.carry

    after, verdict = metropolized(carry, advance, rule, rng)
    known = first[0] if first else None
    return after, StepInfo(
        energy_error=known.energy_error(carry.physics) if known else None,
        residual=known.residual() if known else None,
        jump_seconds=seconds,
        failure=failure,
        verdict=verdict,
    )
