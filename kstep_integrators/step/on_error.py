"""C J C under control: physics steps, or shorter jumps, in place of a jump that does not stand."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from kstep_integrators.fields import Layout, replaced, where
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import Evaluation, PhasePoint, Reasons, mask_of
from kstep_integrators.step.guard import CALM_STEPS
from kstep_integrators.step.info import StepInfo
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stride import Landing, make_stride

__all__ = ["controlled"]


def controlled(
    point: PhasePoint, scheme: BoundScheme, physics: Meter, k: int
) -> tuple[PhasePoint, StepInfo]:
    """One stride as the control of the scheme wants it.

    Parameters
    ----------
    point : PhasePoint
    scheme : BoundScheme
    physics : Meter
        That of the scheme.
    k : int
        Base steps.
    """
    if scheme.control.on_error == "shrink":
        return _shrinking(point, scheme, physics, k)
    landing, error, residual, beyond = _attempt(point, scheme, physics, k)
    info = StepInfo(
        energy_error=error,
        residual=residual,
        undone=landing.undone_mask(),
        jump_seconds=landing.jump_seconds,
    )
    after, undone = landing.point, landing.undone
    if not undone and not beyond:
        return after, info
    on_error = scheme.control.on_error
    if on_error == "stop":
        stopped = {**beyond, **undone}
        after = point.where(mask_of(stopped, point.physics.energy), after)
        return after, dataclasses.replace(info, lost=stopped, reasons=stopped)
    if on_error == "fallback":
        undone = {**beyond, **undone}
    exceeded = {i: why for i, why in beyond.items() if i not in undone}
    if undone:
        after, lost = _physics_steps(point, after, scheme, physics, k, undone)
        info = dataclasses.replace(
            info, lost=lost, fallbacks={i: why for i, why in undone.items() if i not in lost}
        )
    reasons = {**exceeded, **undone, **info.lost}
    return after, dataclasses.replace(info, exceeded=exceeded, reasons=reasons)


def _attempt(
    point: PhasePoint, scheme: BoundScheme, physics: Meter, k: int, which: Tensor | None = None
) -> tuple[Landing, Tensor | None, Tensor | None, Reasons]:
    """A stride, its energy error and residual, and the molecules beyond the tolerances."""
    landing = make_stride(point, scheme, physics, k, scheme.control.guard, which)
    error, residual = landing.energy_error(point.physics), landing.residual()
    beyond = scheme.control.check(point.state.batch, error, residual)
    return landing, error, residual, beyond


def _physics_steps(
    point: PhasePoint,
    landed: PhasePoint,
    scheme: BoundScheme,
    physics: Meter,
    k: int,
    undone: Reasons,
) -> tuple[PhasePoint, Reasons]:
    """k velocity-Verlet steps of the physics, from where the jump had started, for some molecules.

    Returns
    -------
    PhasePoint
        ``landed`` with those molecules where the physics has led them, or where they were if it
        failed.
    dict of int to str
        Those for which it failed, and why.
    """
    which = mask_of(undone, point.physics.energy)
    failed: Reasons = {}
    beginning, estimated = point.physics, point.estimated & which
    if bool(estimated.any()):  # of which the first kick is to be the physics' own
        computed = physics(point.state, True, estimated)
        failed.update(computed.failures)
        beginning = where(Layout(estimated, point.state.batch), computed, beginning)

    def forces(positions: Tensor, _: Any) -> tuple[Evaluation, None]:
        left = which & ~mask_of(failed, point.physics.energy)
        evaluation = physics(point.state.replace(positions=positions), True, left)
        failed.update(evaluation.failures)
        return evaluation, None

    state, arrived, stuck = verlet_flow(forces, point.state, beginning, scheme.timestep, k)
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
    for i, why in scheme.control.guard.check_jump(point.state, state).items():
        if i in undone and i not in lost:
            lost[i] = (
                f"the jump was undone ({undone[i]}), and the {k} physics steps in its place are "
                f"absurd too: {why}; the timestep may be too long, or the start far from "
                "equilibrium"
            )
    made = replaced(landed, state=state, physics=arrived, inner=None, correction=None, site=None)
    after = made.where(which, landed)
    return point.where(mask_of(lost, point.physics.energy), after), lost


def _shrinking(
    point: PhasePoint, scheme: BoundScheme, physics: Meter, k: int
) -> tuple[PhasePoint, StepInfo]:
    """The stride of each molecule in as many jumps as it takes; physics steps for the shortest."""
    energies = point.physics.energy
    molecules = range(len(energies))
    halvings = list(point.halvings or [0] * len(energies))
    calm = list(point.calm or [0] * len(energies))
    left = dict.fromkeys(molecules, k)
    stood = set[int]()
    here, info = point, StepInfo()
    while left:
        # Molecules whose next jumps are equally long make them together; the longest come first.
        parts = {
            i: min(steps, max(scheme.shortest_k, -(-k // 2 ** halvings[i])))
            for i, steps in left.items()
        }
        part = max(parts.values())
        now = [i for i, one in parts.items() if one == part]
        which = None if len(now) == len(energies) else mask_of(now, energies)
        landing, error, residual, beyond = _attempt(here, scheme, physics, part, which)
        undone = {i: why for i, why in {**beyond, **landing.undone}.items() if i in now}
        good = mask_of([i for i in now if i not in undone], energies)
        info = dataclasses.replace(
            info,
            jump_seconds=info.jump_seconds + landing.jump_seconds,
            energy_error=_sum(info.energy_error, error, good),
            residual=_latest(info.residual, residual, good[point.state.batch].unsqueeze(1)),
        )
        after = landing.point.where(good, here)
        done = [i for i in now if i not in undone]
        stood.update(done)
        if undone:
            # The same geometry again with a jump of half the length, or with the physics.
            info = dataclasses.replace(info, reasons={**info.reasons, **undone})
            last = undone if part <= scheme.shortest_k else {}
            for i in undone.keys() - last.keys():
                halvings[i] += 1
                info = dataclasses.replace(
                    info, shrinks={**info.shrinks, i: info.shrinks.get(i, 0) + 1}
                )
            if last:
                after, lost = _physics_steps(here, after, scheme, physics, part, last)
                fallbacks = {i: why for i, why in last.items() if i not in lost}
                info = dataclasses.replace(
                    info,
                    lost={**info.lost, **lost},
                    fallbacks={**info.fallbacks, **fallbacks},
                    reasons={**info.reasons, **lost},
                )
                done += [*fallbacks]
                for i in lost:
                    del left[i]
        for i in done:
            left[i] -= part
            if left[i] == 0:
                del left[i]
        here = after
    if len(stood) < len(energies):
        info = dataclasses.replace(info, undone=~mask_of(stood, energies))
    for i in molecules:
        calm[i] = 0 if i in info.reasons else calm[i] + 1
        if halvings[i] and calm[i] >= CALM_STEPS:
            halvings[i], calm[i] = halvings[i] - 1, 0
    return replaced(here, halvings=tuple(halvings), calm=tuple(calm)), info


def _sum(total: Tensor | None, error: Tensor | None, good: Tensor) -> Tensor | None:
    """Errors of jumps added up for the molecules of a mask (B,)."""
    if error is None:
        return total
    if total is None:
        return error.masked_fill(~good, 0.0)
    return torch.where(good, total + error, total)


def _latest(before: Tensor | None, now: Tensor | None, good: Tensor) -> Tensor | None:
    """Residuals of the last jumps that stand, for the atoms of a mask (N, 1)."""
    if now is None or before is None:
        return before if now is None else now
    return torch.where(good, now, before)
