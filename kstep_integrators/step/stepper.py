"""One step of stride h = k * timestep: O C J C O, or O { C J C } O with a Metropolis test."""

from __future__ import annotations

from torch import Tensor

from kstep_integrators.fields import replaced
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import (
    EvaluationFailed,
    PhasePoint,
    PhaseState,
    Reasons,
    kinetic_energy,
    mask_of,
)
from kstep_integrators.step.arrival import first_point
from kstep_integrators.step.info import StepInfo
from kstep_integrators.step.metropolis import Metropolis, metropolized
from kstep_integrators.step.on_error import controlled
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stride import Landing, make_stride
from kstep_integrators.thermostats.noise import Noise

__all__ = ["start", "step"]


def start(state: PhaseState, scheme: BoundScheme, k: int = 1) -> PhasePoint:
    """Evaluate the physics at the first state of a run: the one evaluation that is not a jump's.

    Parameters
    ----------
    state : PhaseState
    scheme : BoundScheme
    k : int
        Base steps of the first stride, for a corrector that averages positions.

    Raises
    ------
    EvaluationFailed
        If a molecule has no energy and force at the start.
    """
    meter = Meter(scheme.physics, state.n_molecules)
    point = first_point(state, scheme, meter, k * scheme.timestep)
    if point.physics.failures:
        raise EvaluationFailed("; ".join(point.physics.failures.values()))
    return point


def step(
    point: PhasePoint, scheme: BoundScheme, k: int, rng: Noise, physics: Meter | None = None
) -> tuple[PhasePoint, StepInfo]:
    """Advance by one stride, or try to.

    Parameters
    ----------
    point : PhasePoint
    scheme : BoundScheme
    k : int
        Base steps per stride.
    rng : Noise
        Source of the thermostat's noise and of the Metropolis test: one generator, or one for each
        molecule.
    physics : Meter, optional
        That of the scheme, for a caller who wants to know what was spent even if the step raises.

    Returns
    -------
    point : PhasePoint
    info : StepInfo
        ``info.lost`` names the molecules that could not be advanced: they are where they were, and
        the run cannot go on with them.

    Raises
    ------
    ValueError
        If the thermostat cannot act on the state.
    """
    stride = k * scheme.timestep
    if physics is None:
        physics = Meter(scheme.physics, point.state.n_molecules)
    heated, before = _bathe(point, scheme, stride, rng)
    if scheme.metropolis is None:
        after, info = controlled(heated, scheme, physics, k)
    else:
        after, info = _tested(heated, scheme, scheme.metropolis, physics, k, rng)
    done, behind = _bathe(after, scheme, stride, rng)
    heat = None if before is None or behind is None else before + behind
    if info.lost:
        lost = mask_of(info.lost, point.physics.energy)
        done = point.where(lost, done)
        heat = None if heat is None else heat.masked_fill(lost, 0.0)
    info = replaced(
        info, heat=heat, evaluations=physics.evaluations, physics_seconds=physics.seconds
    )
    return done, info


def _bathe(
    point: PhasePoint, scheme: BoundScheme, stride: float, rng: Noise
) -> tuple[PhasePoint, Tensor | None]:
    """O, and the heat it put in; None if there is no bath."""
    state = scheme.thermostat.half_step(point.state, stride, rng)
    if state is point.state:
        return point, None
    heat = kinetic_energy(state) - kinetic_energy(point.state)
    return replaced(point, state=state), heat


def _tested(
    point: PhasePoint, scheme: BoundScheme, rule: Metropolis, physics: Meter, k: int, rng: Noise
) -> tuple[PhasePoint, StepInfo]:
    """{ C J C }: accepted or rejected by the physics, and by nothing else."""
    first: list[Landing] = []
    seconds = 0.0
    failures: Reasons = {}

    def advance(here: PhasePoint, which: Tensor) -> PhasePoint:
        nonlocal seconds
        landing = make_stride(here, scheme, physics, k, None, which)
        seconds += landing.jump_seconds
        failures.update({i: why for i, why in landing.undone.items() if bool(which[i])})
        first.append(landing)
        return landing.point

    after, verdict = metropolized(point, advance, rule, rng)
    return after, StepInfo(
        energy_error=first[0].energy_error(point.physics),
        residual=first[0].residual(),
        undone=first[0].undone_mask(),
        jump_seconds=seconds,
        failures=failures,
        reasons=failures,
        verdict=verdict,
    )
