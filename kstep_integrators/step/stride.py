"""C J C: one stride with one physics evaluation, which measures the error of the model."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from kstep_integrators.correctors import half_kick
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import JumpInfo
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import (
    Evaluation,
    EvaluationFailed,
    PhasePoint,
    Reasons,
    mask_of,
    no_evaluation,
    residual_of,
)
from kstep_integrators.step.arrival import NO_DERIVATIVE, arrive, lost_molecules
from kstep_integrators.step.guard import Guard, check_finite
from kstep_integrators.step.scheme import BoundScheme

__all__ = ["Landing", "make_stride"]


@dataclass(frozen=True)
class Landing:
    """The end of a stride.

    Attributes
    ----------
    point : PhasePoint
        Without meaning for molecules of ``undone``.
    info : JumpInfo or None
        None if the potential failed.
    undone : dict of int to str
        Molecules whose stride does not stand: potential or physics failed, or the guard finds it
        absurd.
    jump_seconds : float
        Correctors included.
    """

    point: PhasePoint
    info: JumpInfo | None
    undone: Reasons
    jump_seconds: float

    def energy_error(self, before: Evaluation) -> Tensor | None:
        """Predicted minus physical change of the potential energy, (B,) eV."""
        predicted = None if self.info is None else self.info.energy_change
        if predicted is None:
            return None
        return predicted - (self.point.physics.energy - before.energy)

    def residual(self) -> Tensor | None:
        """F_physics - F_potential at the landing, (N, 3) eV/angstrom."""
        return None if self.info is None else residual_of(self.point.physics, self.info.end)

    def undone_mask(self) -> Tensor | None:
        """(B,) bool, true where energy error and residual say nothing; None for nowhere."""
        return mask_of(self.undone, self.point.physics.energy) if self.undone else None


def make_stride(
    point: PhasePoint,
    scheme: BoundScheme,
    physics: Meter,
    k: int,
    guard: Guard | None,
    which: Tensor | None = None,
) -> Landing:
    """C J C with one evaluation of each molecule.

    Parameters
    ----------
    point : PhasePoint
    scheme : BoundScheme
    physics : Meter
        That of the scheme.
    k : int
        Base steps.
    guard : Guard or None
        None: what is finite stands.
    which : (B,) bool Tensor, optional
        Molecules to be evaluated at the landing; all by default.
    """
    state, corrector = point.state, scheme.corrector
    stride = k * scheme.timestep
    began, spent = time.perf_counter(), physics.seconds

    def jump_seconds() -> float:
        return time.perf_counter() - began - (physics.seconds - spent)

    def failed(error: EvaluationFailed) -> Landing:
        reasons = dict.fromkeys(range(state.n_molecules), f"potential: {error}")
        there = replaced(point, physics=no_evaluation(state))
        return Landing(there, None, reasons, jump_seconds())

    try:
        inner = point.inner if point.inner is not None else scheme.jump.begin(state)
        opened, opening = state, None
        if corrector.kicks_before:
            opening = point.correction
            if opening is None or opening.stride != stride:
                opening = corrector(state, point.physics, inner, stride, scheme.jump)
            opened = half_kick(state, opening)
        landed, info = scheme.jump(opened, point.physics, inner, k)
    except EvaluationFailed as error:
        return failed(error)
    undone = check_finite(landed) if guard is None else guard.check_jump(state, landed)
    kick = None if opening is None else opening.force
    if undone and corrector.averages and kick is not None:  # it may have led nowhere
        undone.update(dict.fromkeys(lost_molecules(kick, state), NO_DERIVATIVE))
    for known in (inner, info.end):
        if known is not None:
            undone.update({i: f"potential: {why}" for i, why in known.failures.items()})
    undone.update(info.failures)
    if undone:
        good = ~mask_of(undone, point.physics.energy)
        which = good if which is None else which & good
    try:
        arrival = arrive(landed, info.end, scheme, physics, stride, which)
    except EvaluationFailed as error:
        return failed(error)
    undone = {**arrival.failures, **undone}  # the first reason is the cause
    there = replaced(
        point, state=landed, physics=arrival.physics, site=arrival.site, inner=info.end,
        correction=arrival.correction,
    )  # fmt: skip
    if len(undone) == state.n_molecules or arrival.correction is None:
        return Landing(there, info, undone, jump_seconds())
    done = half_kick(landed, arrival.correction)
    if guard is not None:
        undone = {**guard.check_energy(state, point.physics, done, arrival.physics), **undone}
    there = replaced(there, state=done)
    return Landing(there, info, undone, jump_seconds())
