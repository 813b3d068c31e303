"""Velocity Verlet on any forces: inside a flow jump, and in place of a jump that failed."""

from __future__ import annotations

import math
from typing import Any

import torch

from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake
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
    here, f = state, start.require_forces()
    drift, kick = timestep / state.masses, 0.5 * timestep
    end: Evaluation = start
    carry: Any = None
    failures: Reasons = {}
    for _ in range(k):
        p = constrain(here, here.momenta + kick * f)
        x = here.positions + drift * p
        if state.bonds is not None:
            shaken = shake(here, x)
            x, p = shaken.positions, p + shaken.displacement / drift
            if shaken.failures:
                failures = {**shaken.failures, **failures}
                # They wait where they were, so that the forces of the others can be computed.
                lost = mask_of(failures, state.time)[state.batch].unsqueeze(1)
                x, p = torch.where(lost, here.positions, x), p.masked_fill(lost, 0.0)
        end, carry = forces(x, carry)
        f = end.require_forces()
        here = here.replace(positions=x)
        here = here.replace(momenta=constrain(here, p + kick * f))
    if failures:
        lost = mask_of(failures, state.time)[state.batch].unsqueeze(1)
        here = here.replace(positions=here.positions.masked_fill(lost, math.nan))
    return here.replace(time=state.time + k * timestep), end, failures
