"""One state of several molecules."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kstep_integrators.fields import join
from kstep_integrators.state import PhaseState

__all__ = ["join_states"]


def join_states(states: Sequence[PhaseState]) -> PhaseState:
    """One state of several molecules, in their order.

    Parameters
    ----------
    states : sequence of PhaseState
        Of one molecule or more each, on one device.

    Raises
    ------
    ValueError
        If there are none, or they differ in what a state has once: cell, periodicity, and whether
        centres of mass are held.
    """
    if not states:
        raise ValueError("no molecules were given, expected at least one")
    first = states[0]
    for number, other in enumerate(states):
        for name in ("pbc", "fix_com"):
            if getattr(other, name) != getattr(first, name):
                raise ValueError(
                    f"molecule {number} has {name}={getattr(other, name)}, but molecule 0 has "
                    f"{getattr(first, name)}; run them in ensembles of their own"
                )
        if any(first.pbc) and not torch.equal(other.cell, first.cell):
            raise ValueError(
                f"molecule {number} has the cell {other.cell.tolist()}, but molecule 0 has "
                f"{first.cell.tolist()}; run them in ensembles of their own"
            )
    return join(
        states,
        atoms=[len(state.numbers) for state in states],
        molecules=[state.n_molecules for state in states],
    )
