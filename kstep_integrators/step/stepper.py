"""One step of stride h = k * timestep: O C J C O, or O { C J C } O with a Metropolis test."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from kstep_integrators.state import (
    Carry,
    EvaluationFailed,
    PhaseState,
    Reasons,
    kinetic_energy,
    mask_of,
)
from kstep_integrators.step.choice import choose
from kstep_integrators.step.metropolis import Metropolis, metropolized
from kstep_integrators.step.on_error import controlled
from kstep_integrators.step.scheme import Scheme, StepInfo
from kstep_integrators.step.stride import Landing, make_stride
from kstep_integrators.thermostats.noise import Noise

__all__ = ["start", "step"]


def start(state: PhaseState, scheme: Scheme) -> Carry:
    """Evaluate the physics at the first state of a run: the one evaluation that is not a jump's.

    Raises
    ------
    EvaluationFailed
        If a molecule has no energy and force at the start.
    """
    physics = scheme.physics(state, scheme.needs_forces)
    if physics.failures:
        raise EvaluationFailed("; ".join(physics.failures.values()))
    return Carry(state, physics, None)


def step(carry: Carry, scheme: Scheme, k: int, rng: Noise) -> tuple[Carry, StepInfo]:
    """Advance by one stride, or try to.

    Parameters
    ----------
    carry : Carry
    scheme : Scheme
    k : int
        Base steps per stride.
    rng : Noise
        Source of the thermostat's noise and of the Metropolis test: one generator, or one for each
        molecule.

    Returns
    -------
    carry : Carry
    info : StepInfo
        ``info.lost`` names the molecules that could not be advanced: they are where they were, and
        the run cannot go on with them.

    Raises
    ------
    ValueError
        If the thermostat cannot act on the state.
    """
    stride = k * scheme.timestep
    evaluations, spent = scheme.physics.evaluations, scheme.physics.seconds
    heated, before = _bathe(carry, scheme, stride, rng)
    if scheme.metropolis is None:
        after, info = controlled(heated, scheme, k)
    else:
        after, info = _tested(heated, scheme, scheme.metropolis, k, rng)
    done, behind = _bathe(after, scheme, stride, rng)
    heat = None if before is None or behind is None else before + behind
    if info.lost:
        lost = mask_of(info.lost, carry.physics.energy)
        done = choose(lost, carry, done)
        heat = None if heat is None else heat.masked_fill(lost, 0.0)
    info = dataclasses.replace(
        info,
        heat=heat,
        evaluations=scheme.physics.evaluations - evaluations,
        physics_seconds=scheme.physics.seconds - spent,
    )
    return done, info


def _bathe(carry: Carry, scheme: Scheme, stride: float, rng: Noise) -> tuple[Carry, Tensor | None]:
    """O, and the heat it put in; None if there is no bath."""
    state = scheme.thermostat.half_step(carry.state, stride, rng)
    if state is carry.state:
        return carry, None
    heat = kinetic_energy(state) - kinetic_energy(carry.state)
    return dataclasses.replace(carry, state=state), heat


def _tested(
    carry: Carry, scheme: Scheme, rule: Metropolis, k: int, rng: Noise
) -> tuple[Carry, StepInfo]:
    """{ C J C }: accepted or rejected by the physics, and by nothing else."""
    first: list[Landing] = []
    seconds = 0.0
    failures: Reasons = {}

    def advance(here: Carry, which: Tensor) -> Carry:
        nonlocal seconds
        landing = make_stride(here, scheme, k, None, which)
        seconds += landing.jump_seconds
        failures.update({i: why for i, why in landing.undone.items() if bool(which[i])})
        first.append(landing)
        return landing.carry

    after, verdict = metropolized(carry, advance, rule, rng)
    return after, StepInfo(
        energy_error=first[0].energy_error(carry.physics),
        residual=first[0].residual(),
        jump_seconds=seconds,
        failures=failures,
        reason=next(reversed(failures.values())) if failures else None,
        verdict=verdict,
    )
