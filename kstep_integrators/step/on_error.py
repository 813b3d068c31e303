"""C J C under control: what stands in place of a jump that does not stand."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.state import Carry, Evaluation, Reasons, mask_of
from kstep_integrators.step.choice import choose
from kstep_integrators.step.guard import CALM_STEPS
from kstep_integrators.step.scheme import Scheme, StepInfo
from kstep_integrators.step.stride import Landing, make_stride

__all__ = ["controlled"]


def controlled(carry: Carry, scheme: Scheme, k: int) -> tuple[Carry, StepInfo]:
    """One stride as the control of the scheme wants it.

    Parameters
    ----------
    carry : Carry
    scheme : Scheme
    k : int

    Raises
    ------
    ValueError
        Under ``"shrink"``, if the state holds several molecules, which move in step.
    """
    if scheme.control.on_error == "shrink":
        return _shrinking(carry, scheme, k)
    landing, error, residual, beyond = _attempt(carry, scheme, k)
    info = StepInfo(energy_error=error, residual=residual, jump_seconds=landing.jump_seconds)
    after, undone = landing.carry, landing.undone
    if not undone and not beyond:
        return after, info
    on_error = scheme.control.on_error
    if on_error == "stop":
        stopped = {**beyond, **undone}
        after = choose(mask_of(stopped, carry.physics.energy), carry, after)
        return after, dataclasses.replace(info, lost=stopped, reason=_last(stopped))
    if on_error == "fallback":
        undone = {**beyond, **undone}
    exceeded = {i: why for i, why in beyond.items() if i not in undone}
    if undone:
        after, lost = _physics_steps(carry, after, scheme, k, undone)
        info = dataclasses.replace(
            info, lost=lost, fallbacks={i: why for i, why in undone.items() if i not in lost}
        )
    reason = _last({**exceeded, **undone, **info.lost})
    return after, dataclasses.replace(info, exceeded=exceeded, reason=reason)


def _last(reasons: Reasons) -> str:
    return next(reversed(reasons.values()))


def _attempt(
    carry: Carry, scheme: Scheme, k: int
) -> tuple[Landing, Tensor | None, Tensor | None, Reasons]:
    """A stride, its energy error and residual, and the molecules beyond the tolerances."""
    landing = make_stride(carry, scheme, k, scheme.control.guard)
    error, residual = landing.energy_error(carry.physics), landing.residual()
    return landing, error, residual, scheme.control.check(carry.state.batch, error, residual)


def _physics_steps(
    carry: Carry, landed: Carry, scheme: Scheme, k: int, undone: Reasons
) -> tuple[Carry, Reasons]:
    """k velocity-Verlet steps of the physics, from where the jump had started, for some molecules.

    Returns
    -------
    Carry
        ``landed`` with those molecules where the physics has led them, or where they were if it
        failed.
    dict of int to str
        Those for which it failed, and why.
    """
    which = mask_of(undone, carry.physics.energy)
    failed: Reasons = {}

    def forces(positions: Tensor, _: Any) -> tuple[Evaluation, None]:
        left = which & ~mask_of(failed, carry.physics.energy)
        found = scheme.physics(carry.state.replace(positions=positions), True, left)
        failed.update(found.failures)
        return found, None

    state, arrived, stuck = verlet_flow(forces, carry.state, carry.physics, scheme.timestep, k)
    lost = {
        i: f"the jump was undone ({undone[i]}), and the physics failed on the {k} steps in its "
        f"place: {why}"
        for i, why in failed.items()
    }
    for i, why in stuck.items():
        if i in undone and i not in lost:
            lost[i] = (
                f"the jump was undone ({undone[i]}), and the {k} physics steps in its place lead "
                f"nowhere: {why}; the timestep may be too long"
            )
    for i, why in scheme.control.guard.check_jump(carry.state, state).items():
        if i in undone and i not in lost:
            lost[i] = (
                f"the jump was undone ({undone[i]}), and the {k} physics steps in its place are "
                f"absurd too: {why}; the timestep may be too long, or the start far from "
                "equilibrium"
            )
    made = dataclasses.replace(landed, state=state, physics=arrived, inner=None, correction=None)
    after = choose(which, made, landed)
    return choose(mask_of(lost, carry.physics.energy), carry, after), lost


def _shrinking(carry: Carry, scheme: Scheme, k: int) -> tuple[Carry, StepInfo]:
    """The stride in as many jumps as it takes; physics steps only for the shortest of them."""
    if carry.state.n_molecules != 1:
        raise ValueError(
            f"on_error='shrink' with {carry.state.n_molecules} molecules in one state: they move "
            "in step; use 'fallback'"
        )
    here, left, halvings = carry, k, carry.halvings
    info = StepInfo()
    while left:
        part = min(left, max(scheme.shortest, -(-k // 2**halvings)))
        landing, error, residual, beyond = _attempt(here, scheme, part)
        info = dataclasses.replace(info, jump_seconds=info.jump_seconds + landing.jump_seconds)
        undone = {**beyond, **landing.undone}
        if not undone:
            if error is not None and info.energy_error is not None:
                error = info.energy_error + error
            info = dataclasses.replace(info, energy_error=error, residual=residual)
            here, left = landing.carry, left - part
            continue
        info = dataclasses.replace(info, reason=undone[0])
        if part > scheme.shortest:
            # The same geometry again, with a jump of half the length.
            halvings += 1
            info = dataclasses.replace(info, shrinks=info.shrinks + 1)
            continue
        here, lost = _physics_steps(here, landing.carry, scheme, part, undone)
        if lost:
            return carry, dataclasses.replace(info, lost=lost, reason=lost[0])
        left -= part
        info = dataclasses.replace(info, fallbacks=undone)
    calm = 0 if info.reason is not None else carry.calm + 1
    if halvings and calm >= CALM_STEPS:
        halvings, calm = halvings - 1, 0
    return dataclasses.replace(here, halvings=halvings, calm=calm), info
