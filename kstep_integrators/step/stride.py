"""C J C: one stride with one physics evaluation, and what it says of the model."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

from torch import Tensor

from kstep_integrators.correctors import kick
from kstep_integrators.jumps.base import JumpInfo
from kstep_integrators.physics.evaluation import nowhere
from kstep_integrators.state import (
    Carry,
    Evaluation,
    EvaluationFailed,
    PhaseState,
    Reasons,
    mask_of,
)
from kstep_integrators.step.guard import Guard
from kstep_integrators.step.scheme import Scheme

__all__ = ["Landing", "make_stride"]


@dataclass(frozen=True)
class Landing:
    """Where a stride has led.

    Attributes
    ----------
    carry : Carry
        Without meaning for molecules of ``undone``.
    info : JumpInfo or None
        None if the potential failed.
    undone : dict of int to str
        Molecules whose stride does not stand: potential or physics failed, or the guard finds it
        absurd.
    jump_seconds : float
        Correctors included.
    """

    carry: Carry
    info: JumpInfo | None
    undone: Reasons
    jump_seconds: float

    def energy_error(self, before: Evaluation) -> Tensor | None:
        """Predicted minus physical change of the potential energy, (B,) eV."""
        if self.info is None or self.info.start is None or self.info.end is None:
            return None
        predicted = self.info.end.energy - self.info.start.energy
        return self._standing(predicted - (self.carry.physics.energy - before.energy))

    def residual(self) -> Tensor | None:
        """F_physics - F_potential at the landing, (N, 3) eV/angstrom."""
        end, physics = self.info.end if self.info else None, self.carry.physics
        if end is None or end.forces is None or physics.forces is None:
            return None
        return self._standing(physics.forces - end.forces)

    def _standing(self, values: Tensor) -> Tensor:
        """NaN for molecules whose stride does not stand; values (B,) or (N, 3)."""
        if not self.undone:
            return values
        undone = mask_of(self.undone, self.carry.physics.energy)
        if values.dim() > 1:
            undone = undone[self.carry.state.batch].unsqueeze(1)
        return values.masked_fill(undone, math.nan)


def make_stride(
    carry: Carry, scheme: Scheme, k: int, guard: Guard | None, which: Tensor | None = None
) -> Landing:
    """C J C with one evaluation of each molecule.

    Parameters
    ----------
    carry : Carry
    scheme : Scheme
    k : int
        Base steps.
    guard : Guard or None
        None: what is finite stands.
    which : (B,) bool Tensor, optional
        Molecules to be evaluated at the landing; all by default.
    """
    state, physics = carry.state, carry.physics
    stride = k * scheme.timestep
    began = time.perf_counter()

    def failed(error: EvaluationFailed) -> Landing:
        reasons = dict.fromkeys(range(state.n_molecules), f"potential: {error}")
        there = dataclasses.replace(carry, physics=nowhere(state))
        return Landing(there, None, reasons, time.perf_counter() - began - waited)

    waited = 0.0
    try:
        inner = carry.inner if carry.inner is not None else scheme.jump.begin(state)
        opening = carry.correction
        if opening is None or opening.stride != stride:
            opening = scheme.corrector(state, physics, inner, stride, scheme.jump)
        landed, info = scheme.jump(kick(state, opening), physics, inner, k)
    except EvaluationFailed as error:
        return failed(error)
    undone = _not_finite(landed) if guard is None else guard.check_jump(state, landed)
    for known in (inner, info.end):
        if known is not None:
            undone.update({i: f"potential: {why}" for i, why in known.failures.items()})
    undone.update(info.failures)
    if undone:
        good = ~mask_of(undone, physics.energy)
        which = good if which is None else which & good
    before_physics = time.perf_counter()
    arrived = scheme.physics(landed, scheme.needs_forces, which)
    waited = time.perf_counter() - before_physics
    undone = {**undone, **arrived.failures}
    if len(undone) == state.n_molecules:
        there = dataclasses.replace(carry, state=landed, physics=arrived)
        return Landing(there, info, undone, time.perf_counter() - began - waited)
    try:
        closing = scheme.corrector(landed, arrived, info.end, stride, scheme.jump)
    except EvaluationFailed as error:
        return failed(error)
    done = kick(landed, closing)
    if guard is not None:
        undone = {**guard.check_energy(state, physics, done, arrived), **undone}
    there = dataclasses.replace(
        carry, state=done, physics=arrived, inner=info.end, correction=closing
    )
    return Landing(there, info, undone, time.perf_counter() - began - waited)


def _not_finite(landed: PhaseState) -> Reasons:
    finite = (landed.positions + landed.momenta).isfinite().all(1)
    if bool(finite.all()):
        return {}
    broken = landed.batch[~finite].unique().tolist()
    return dict.fromkeys(broken, "the jump ended where positions or momenta are not finite")
