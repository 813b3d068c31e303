"""Velocity Verlet on any forces: inside a flow jump, and in place of a jump that failed."""

from __future__ import annotations

from typing import Any

from kstep_integrators.state import Evaluation, Forces, PhaseState, constrain

__all__ = ["verlet_flow"]


def verlet_flow(
    forces: Forces, state: PhaseState, start: Evaluation, timestep: float, k: int
) -> tuple[PhaseState, Evaluation]:
    r"""k steps of velocity Verlet: symplectic, time-reversible, momentum-conserving.

    Swope et al., doi:10.1063/1.442716:
    :math:`p \leftarrow p + \tfrac{\tau}{2}F,\; x \leftarrow x + \tau p/m,\;
    p \leftarrow p + \tfrac{\tau}{2}F`.

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
    """
    x, p, f = state.positions, state.momenta, start.require_forces()
    drift, kick = timestep / state.masses, 0.5 * timestep
    end: Evaluation = start
    carry: Any = None
    for _ in range(k):
        p = constrain(state, p + kick * f)
        x = x + drift * p
        end, carry = forces(x, carry)
        f = end.require_forces()
        p = constrain(state, p + kick * f)
    return state.replace(positions=x, momenta=p, time=state.time + k * timestep), end
