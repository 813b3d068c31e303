"""Bonds that break in a run, and atoms that only change hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import covalent_radii

from kstep_integrators.diagnostics import bond_lengths
from kstep_integrators.mechanics.bond_watch import BROKEN, FORMED
from kstep_training.evaluate.record import Array, Record
from kstep_training.evaluate.shapes import Indices, label

__all__ = ["find_broken"]


def find_broken(records: Sequence[Record], coordinates: Indices) -> dict[str, Mapping[str, Any]]:
    """Runs in which bonds of the first frame are found broken at a landing.

    Parameters
    ----------
    records : sequence of Record
    coordinates : mapping
        Indices of the internal coordinates.

    Returns
    -------
    dict
        ``broken``: what broke by number of the run. ``handed_over``: as much of it as holds
        together: an atom of each bond that broke stands at a new partner by then, as a proton that
        is transferred.
    """
    broken, handed_over = dict[str, list[str]](), dict[str, list[str]]()
    for number, record in enumerate(records):
        words, whole = _broken(record, coordinates)
        if words:
            broken[str(number)] = words
        if words and whole:
            handed_over[str(number)] = words
    return {"broken": broken, "handed_over": handed_over}


def _broken(record: Record, coordinates: Indices) -> tuple[list[str], bool]:
    """Each bond that breaks, in words, and whether all of them leave an atom at a new partner."""
    bonds = coordinates["bonds"]
    if not bonds:
        return [], True
    radii = covalent_radii[record.numbers]
    landings = record.landings
    lengths = bond_lengths(record.positions[landings], bonds)
    words, whole = list[str](), True
    for bond, series in zip(bonds, lengths.T, strict=True):
        gone = np.flatnonzero(~(series <= BROKEN * radii[list(bond)].sum()))
        if not len(gone):
            continue
        clock = landings[gone[0]]
        told = f"{label(record.numbers, bond)} at frame {clock} ({series[gone[0]]:.2f} A)"
        partner = _new_partner(record.positions[clock], radii, bond, bonds)
        if partner is None:
            whole = False
        else:
            told += f", now {label(record.numbers, partner)}"
        words.append(told)
    return words, whole


def _new_partner(
    positions: Array, radii: Array, bond: Sequence[int], bonds: Sequence[Sequence[int]]
) -> tuple[int, int] | None:
    """A bond that one of the two atoms has formed; None if neither has."""
    known = {frozenset(map(int, pair)) for pair in bonds}
    for i in map(int, bond):
        scaled = np.linalg.norm(positions - positions[i], axis=1) / (radii + radii[i])
        for j in np.flatnonzero(scaled < FORMED):
            if j != i and frozenset((i, int(j))) not in known:
                return int(j), i
    return None
