"""Kick, drift, and the momenta that the constraints of a state allow."""

from __future__ import annotations

import torch
from torch import Tensor

from kstep_integrators.fields import derived
from kstep_integrators.mechanics.rattle import project_momenta
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.state import PhaseState, Reasons, inverse_masses

__all__ = ["constrain", "drift", "kick"]


def kick(state: PhaseState, force: Tensor, duration: float) -> PhaseState:
    r"""Momenta after a force has acted for a while: :math:`p \leftarrow p + \tau F`.

    What the constraints of the state do not allow is projected out.

    Parameters
    ----------
    state : PhaseState
    force : (N, 3) eV/angstrom
    duration : float
        ASE time units.
    """
    return state.replace(momenta=constrain(state, state.momenta + duration * force))


def drift(state: PhaseState, duration: float) -> tuple[PhaseState, Reasons]:
    r"""Positions after free motion: :math:`x \leftarrow x + \tau p/m`.

    Fixed bonds are put back on their lengths by SHAKE, and the momenta take the impulse that this
    needed. The time of the state stays as it is.

    Parameters
    ----------
    state : PhaseState
    duration : float
        ASE time units.

    Returns
    -------
    PhaseState
    dict of int to str
        Molecules whose bonds could not be put back, and why: they have no positions (NaN).
    """
    rate: Tensor = derived(
        state, ("rate", duration), lambda state: duration / state.masses, lasting=True
    )
    x = state.positions + rate * state.momenta
    if state.bonds is None:
        return state.replace(positions=x), {}
    shaken = shake(state, x)
    momenta = state.momenta + shaken.displacement / rate
    return state.replace(positions=shaken.positions, momenta=momenta), shaken.failures


def constrain(state: PhaseState, momenta: Tensor) -> Tensor:
    """Project momenta on what the constraints of a state allow.

    Parameters
    ----------
    state : PhaseState
    momenta : (N, 3)

    Returns
    -------
    (N, 3)
        Zero for fixed atoms; without net momentum of each molecule under ``fix_com``; not changing
        the length of a fixed bond at the positions of the state.
    """
    if state.mobile is not None:
        momenta = momenta * state.mobile
    if state.bonds is not None:
        # It has no net momentum: whether it comes before or after the next does not matter.
        momenta = project_momenta(
            state.bonds, state.positions, momenta, inverse_masses(state), state.bond_offsets
        )
    if state.fix_com:
        n = state.n_molecules
        total = torch.zeros(n, 3, dtype=momenta.dtype, device=momenta.device)
        mass = torch.zeros(n, 1, dtype=momenta.dtype, device=momenta.device)
        total = total.index_add(0, state.batch, momenta)
        mass = mass.index_add(0, state.batch, state.masses)
        momenta = momenta - state.masses * (total / mass)[state.batch]
    return momenta
