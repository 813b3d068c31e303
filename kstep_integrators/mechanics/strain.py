"""Strains of a periodic cell, and the derivative of a potential energy by them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kstep_integrators.state import PhaseState

__all__ = ["STRAINS", "strained", "virial"]


def _strains() -> Tensor:
    strains = torch.zeros(6, 3, 3, dtype=torch.float64)
    for row, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strains[row, a, b] += 0.5
        strains[row, b, a] += 0.5
    return strains


STRAINS = _strains()
"""Symmetric unit strains (6, 3, 3) in the order of ASE's stress: xx, yy, zz, yz, xz, xy."""

STRAIN = 1e-3
"""Of central differences of energies in single precision, too."""


def strained(state: PhaseState, strain: Tensor) -> PhaseState:
    """A state with its cell and all positions strained, x' = x (1 + e).

    Parameters
    ----------
    state : PhaseState
    strain : (3, 3)
        Symmetric.
    """
    e = strain.to(state.positions)
    moved = state.positions + state.positions @ e
    return state.replace(positions=moved, cell=state.cell + state.cell @ e)


def virial(state: PhaseState, energy: Callable[[PhaseState], float]) -> Tensor:
    """Derivatives (6,) of the potential energy by the strain, eV: stress times volume.

    By central differences, twelve energies.

    Parameters
    ----------
    state : PhaseState
        One molecule or replica.
    energy : callable
        Of a state, eV.
    """
    ends = [[energy(strained(state, sign * STRAIN * e)) for sign in (1.0, -1.0)] for e in STRAINS]
    return torch.tensor([(above - below) / (2.0 * STRAIN) for above, below in ends]).double()
