"""Momenta that the constraints of a state allow."""

from __future__ import annotations

import torch
from torch import Tensor

from kstep_integrators.mechanics.rattle import project_momenta
from kstep_integrators.state import PhaseState, inverse_masses

__all__ = ["constrain"]


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
        momenta = project_momenta(state.bonds, state.positions, momenta, inverse_masses(state))
    if state.fix_com:
        n = state.n_molecules
        total = torch.zeros(n, 3, dtype=momenta.dtype, device=momenta.device)
        mass = torch.zeros(n, 1, dtype=momenta.dtype, device=momenta.device)
        total = total.index_add(0, state.batch, momenta)
        mass = mass.index_add(0, state.batch, state.masses)
        momenta = momenta - state.masses * (total / mass)[state.batch]
    return momenta
