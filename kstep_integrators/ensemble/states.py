"""One state of several molecules."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kstep_integrators.fields import join
from kstep_integrators.state import PhaseState
from kstep_integrators.step.options import Temperatures

__all__ = ["join_states", "with_baths"]


def join_states(states: Sequence[PhaseState]) -> PhaseState:
    """One state of several molecules, in their order.

    Parameters
    ----------
    states : sequence of PhaseState
        Of one molecule or more each, on one device.

    Raises
    ------
    ValueError
        If there are none, or they differ in what a state has once: periodic directions, and whether
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
    return join(
        states,
        atoms=[len(state.numbers) for state in states],
        molecules=[state.n_molecules for state in states],
    )


def with_baths(state: PhaseState, kelvin: Temperatures | None) -> PhaseState:
    """The state with the temperature of the bath of each molecule, if they are given.

    Raises
    ------
    ValueError
        If there are not as many as molecules.
    """
    if not isinstance(kelvin, tuple):
        return state
    if len(kelvin) != state.n_molecules:
        raise ValueError(
            f"temperature_K has {len(kelvin)} numbers for {state.n_molecules} molecules; give one "
            "for each, or one for all"
        )
    baths = torch.tensor(kelvin, dtype=torch.float64, device=state.positions.device)
    return state.replace(bath_kelvin=baths)
