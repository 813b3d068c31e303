"""Several molecules, and one state of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from ase import Atoms

from kstep_integrators.ase.atoms import check_atoms
from kstep_integrators.fields import join
from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.state import PhaseState
from kstep_integrators.step.options import Temperatures

__all__ = ["checked_molecules", "join_states", "with_baths"]


def checked_molecules(given: object) -> list[Atoms]:
    """The molecules of an ensemble, as they were given.

    Raises
    ------
    TypeError, ValueError
        If they are no list of Atoms objects, or one of them cannot be moved.
    """
    if isinstance(given, Atoms):
        raise TypeError("atoms_list is an Atoms object, expected a list of them: [atoms, ...]")
    if not isinstance(given, Iterable):
        raise TypeError(f"atoms_list is {given!r}, expected a list of ase.Atoms objects")
    molecules = list(given)
    for one in molecules:
        check_atoms(one)
        note_estimates(one, False)  # of a frame that a run left, which is computed anew
    return molecules


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
