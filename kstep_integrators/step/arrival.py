"""The physics where a stride ends: computed, or estimated from averaged positions nearby."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.correctors import estimate, pulled_back, residual_force
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import Averaged
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import (
    Correction,
    Evaluation,
    EvaluationFailed,
    PhasePoint,
    PhaseState,
    Reasons,
    Site,
    mask_of,
    no_evaluation,
)
from kstep_integrators.step.scheme import BoundScheme

__all__ = ["NO_DERIVATIVE", "Arrival", "arrive", "first_point", "lost_molecules", "verified"]

POTENTIAL = "potential: "
"""Beginning of the reasons that are the potential's."""
NO_DERIVATIVE = f"{POTENTIAL}its average has no derivative"


@dataclass(frozen=True)
class Arrival:
    """The physics and the correction at the positions where a stride ends or a run begins.

    Attributes
    ----------
    physics : Evaluation
        Computed there, or estimated.
    correction : Correction or None
        None if the corrector could not make one.
    site : Site or None
        Where the physics has been computed, if elsewhere.
    failures : dict of int to str
        Molecules of which the physics or the potential has failed.
    """

    physics: Evaluation
    correction: Correction | None
    site: Site | None
    failures: Reasons


def arrive(
    state: PhaseState,
    inner: Evaluation | None,
    scheme: BoundScheme,
    physics: Meter,
    stride: float,
    which: Tensor | None = None,
) -> Arrival:
    """Evaluate the physics once, where the corrector wants it, and make the correction of it.

    Parameters
    ----------
    state : PhaseState
    inner : Evaluation or None
        The potential there.
    scheme : BoundScheme
    physics : Meter
        That of the scheme.
    stride : float
        Of the stride that ends here, ASE time units.
    which : (B,) bool Tensor, optional
        Molecules to be evaluated; all by default. Others may have no positions.

    Raises
    ------
    EvaluationFailed
        If the potential fails as a whole.
    """
    corrector, jump = scheme.corrector, scheme.jump
    if which is not None and not bool(which.any()):
        return Arrival(no_evaluation(state), None, None, {})
    aim = corrector.aim(state, inner, stride, jump)
    if aim is None or inner is None:
        computed = physics(state, scheme.needs_forces, which)
        if len(computed.failures) == state.n_molecules:
            return Arrival(computed, None, None, computed.failures)
        correction = corrector(state, computed, inner, stride, jump)
        return Arrival(computed, correction, None, computed.failures)
    undone = _undone(aim)
    if undone:
        good = ~mask_of(undone, state.time)
        which = good if which is None else which & good
    computed = physics(aim.state, True, which)
    failures = {**computed.failures, **undone}
    there, site = estimate(state, inner, aim, computed)
    if len(failures) == state.n_molecules:
        return Arrival(replaced(there, failures=failures), None, site, failures)
    force = pulled_back(aim, residual_force(corrector.name, computed, aim.inner))
    for i in lost_molecules(force, state):
        if which is None or bool(which[i]):
            failures.setdefault(i, NO_DERIVATIVE)
    there = replaced(there, failures=failures)
    return Arrival(there, Correction(force, stride), site, failures)


def first_point(
    state: PhaseState, scheme: BoundScheme, physics: Meter, stride: float
) -> PhasePoint:
    """The point of a run that begins, or goes on from positions that its user has set.

    Molecules that have no energy there are in ``point.physics.failures``.

    Parameters
    ----------
    state, scheme, physics
        As for :func:`arrive`.
    stride : float
        Of the stride that begins here, ASE time units.
    """
    if scheme.corrector.averages:
        try:
            inner = scheme.jump.begin(state)
            arrival = arrive(state, inner, scheme, physics, stride)
        except EvaluationFailed:  # of the potential: the first stride says so, and does without it
            pass
        else:
            point = PhasePoint(state, arrival.physics, inner, arrival.correction, site=arrival.site)
            without = {i for i, why in arrival.failures.items() if why.startswith(POTENTIAL)}
            if not without:
                return point
            which = mask_of(without, state.time)
            here = replaced(point, physics=physics(state, True, which), site=None)
            return here.where(which, point)
    return PhasePoint(state, physics(state, scheme.needs_forces), None)


def verified(point: PhasePoint, scheme: BoundScheme) -> Tensor | None:
    """Compute the physics where it has been estimated, to tell how good the estimates are.

    It costs evaluations that no step makes and none counts among its own. The point stays as it is.
    In a run that learns they are labels, with forces: those at averaged positions say little of the
    stiff modes that were averaged out.

    Parameters
    ----------
    point : PhasePoint
    scheme : BoundScheme

    Returns
    -------
    (B,) Tensor or None
        Estimated minus computed energy, eV; NaN for molecules without one of both. None if nothing
        is estimated.
    """
    which = point.estimated
    if not bool(which.any()):
        return None
    computed, _ = scheme.physics(point.state, scheme.label_forces, which)
    return (point.physics.energy - computed.energy).masked_fill(~which, torch.nan)


def _undone(aim: Averaged) -> Reasons:
    """Molecules that have no averaged positions, and why."""
    undone = {i: f"{POTENTIAL}{why}" for i, why in aim.inner.failures.items()}
    for i in lost_molecules(aim.state.positions, aim.state):
        undone.setdefault(i, f"{POTENTIAL}its motion from rest leads nowhere")
    return undone


def lost_molecules(values: Tensor, state: PhaseState) -> list[int]:
    """Molecules with values (N, 3) that are not finite."""
    lost: list[int] = torch.unique(state.batch[~values.isfinite().all(1)]).tolist()
    return lost
