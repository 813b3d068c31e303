"""Velocity Verlet on any forces: inside a flow jump, and in place of a jump that failed."""

from __future__ import annotations

import math
from typing import Any

import torch

from kstep_integrators.mechanics.motion import drift, kick
from kstep_integrators.state import Evaluation, Forces, PhaseState, Reasons, mask_of

__all__ = ["verlet_flow"]


def verlet_flow(
    forces: Forces, state: PhaseState, start: Evaluation, timestep: float, k: int
) -> tuple[PhaseState, Evaluation, Reasons]:
    r"""k steps of velocity Verlet: symplectic, time-reversible, momentum-conserving.

    Swope et al., doi:10.1063/1.442716:
    :math:`p \leftarrow p + \tfrac{\tau}{2}F,\; x \leftarrow x + \tau p/m,\;
    p \leftarrow p + \tfrac{\tau}{2}F`. With fixed bonds it is RATTLE (Andersen,
    doi:10.1016/0021-9991(83)90014-1): x is put back on their lengths, p takes the impulse that this
    needed, and what changes lengths is projected out of p at the landing.

    Parameters
    ----------
    forces : callable
        A bound potential, for example.
    state : PhaseState
    start : Evaluation
        The potential at ``state.positions``, with forces.
    timestep : float
        ASE time units.
    k : int

    Returns
    -------
    state : PhaseState
        k timesteps later.
    end : Evaluation
        The potential there.
    failures : dict of int to str
        Molecules whose bonds could not be kept, and why: they have no positions (NaN).
    """
    here, end = state, start
    workspace: Any = None
    failures: Reasons = {}
    for _ in range(k):
        here = kick(here, end.require_forces(), 0.5 * timestep)
        before = here
        here, stuck = drift(here, timestep)
        if stuck:
            failures = {**stuck, **failures}
        if failures:
            # They wait where they were, so that the forces of the others can be computed.
            lost = mask_of(failures, state.time)[state.batch].unsqueeze(1)
            here = here.replace(
                positions=torch.where(lost, before.positions, here.positions),
                momenta=here.momenta.masked_fill(lost, 0.0),
            )
        end, workspace = forces(here.positions, workspace)
        here = kick(here, end.require_forces(), 0.5 * timestep)
    if failures:
        lost = mask_of(failures, state.time)[state.batch].unsqueeze(1)
        here = here.replace(positions=here.positions.masked_fill(lost, math.nan))
    return here.replace(time=state.time + k * timestep), end, failures
