"""Structure along runs: distributions of internal coordinates, broken bonds, flips of torsions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from kstep_integrators.diagnostics import (
    bond_lengths,
    compare_runs,
    dihedral_angles,
    kinetic_energy,
    torsion_flips,
)
from kstep_integrators.mechanics.bond_watch import BROKEN, FORMED
from kstep_training.dataset.internal_coordinates import KINDS as COORDINATES
from kstep_training.dataset.internal_coordinates import internal_coordinates
from kstep_training.evaluate.record import Array, Record

__all__ = [
    "compare_shapes",
    "coordinates_of",
    "find_broken",
    "flips",
    "label",
    "shape_values",
]

Indices = dict[str, list[list[int]]]

KINDS = (*COORDINATES, "energy", "kinetic")
"""Internal coordinates, potential energy, kinetic energy of each element."""
RELABELLINGS = 2_999
SINGLE = {6: 4, 7: 3, 8: 2, 16: 2}
"""Neighbours of an atom that has single bonds alone, by atomic number."""


def coordinates_of(record: Record) -> Indices:
    """Bonds, angles and dihedrals of the first frame; none of periodic systems."""
    if any(record.pbc):
        return {kind: [] for kind in COORDINATES}
    return internal_coordinates(record.numbers, record.positions[0])


def label(numbers: NDArray[np.int64], group: Sequence[int]) -> str:
    """Name of a group of atoms.

    Examples
    --------
    >>> label(np.array([6, 6, 8, 1]), (0, 1, 2, 3))
    'C0-C1-O2-H3'
    """
    return "-".join(f"{chemical_symbols[numbers[i]]}{i}" for i in group)


def shape_values(
    records: Sequence[Record], coordinates: Indices, skip: float = 0.0
) -> dict[str, list[Array]]:
    """Coordinates (F, Q) of each run at its landings, and its energies, by kind.

    Parameters
    ----------
    records : sequence of Record
    coordinates : dict
    skip : float
        Part of each run that is left out at its beginning.
    """
    series: dict[str, list[Array]] = {}
    for record in records:
        landings = record.landings
        kept = landings[round(skip * len(landings)) :]
        values = {
            kind: of(record.positions[kept], coordinates[kind])
            for kind, (_, of) in COORDINATES.items()
            if coordinates[kind]
        }
        if np.isfinite(record.energies[kept]).all():
            values["energy"] = record.energies[kept][:, None]
        if np.isfinite(record.momenta[kept]).all():
            values["kinetic"] = _kinetic(record, kept)
        for kind, x in values.items():
            series.setdefault(kind, []).append(x)
    return series


def _kinetic(record: Record, frames: NDArray[np.int64]) -> Array:
    """Kinetic energy (F, E) of each element, eV, in order of atomic number."""
    groups = [np.flatnonzero(record.numbers == z) for z in np.unique(record.numbers)]
    parts = [kinetic_energy(record.momenta[frames][:, g], record.masses[g]) for g in groups]
    return np.stack(parts, axis=1)


def compare_shapes(
    values: Mapping[str, Sequence[Array]], reference: Mapping[str, Sequence[Array]]
) -> dict[str, dict[str, Any]]:
    """Distances, noise floors and p-values of each kind that both have in all of their runs.

    Distances are in standard deviations, of dihedrals in radians.
    """
    rows: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        mine, other = values.get(kind, []), reference.get(kind, [])
        if len(mine) < 2 or len(other) < 2:
            continue
        result = compare_runs(mine, other, kind == "dihedrals", RELABELLINGS)
        worst = int(np.argmax(result.distance - result.floor))
        rows[kind] = {
            "distance": float(result.distance.mean()),
            "noise_floor": float(result.floor.mean()),
            "largest_distance": float(result.distance[worst]),
            "largest_floor": float(result.floor[worst]),
            "largest": worst,
            "p_value": result.p_value,
            "runs": [len(mine), len(other)],
        }
    return rows


def flips(records: Sequence[Record], coordinates: Indices) -> dict[str, dict[str, Any]]:
    """Flips of one torsion about each single bond between two atoms that have single bonds alone.

    Returns
    -------
    dict
        By the name of the torsion: ``count``, ``per_ns`` and its error from counting. Empty for
        molecules without such a bond.
    """
    numbers = records[0].numbers
    around = np.bincount(np.ravel(coordinates["bonds"]).astype(int), minlength=len(numbers))
    about: dict[tuple[int, int], Any] = {}
    for group in coordinates["dihedrals"]:
        ends = (int(group[1]), int(group[2]))
        if all(SINGLE.get(int(numbers[i])) == around[i] for i in ends):
            about.setdefault(ends, group)
    rows = {}
    for group in about.values():
        parts = [dihedral_angles(r.positions[r.landings], [group])[:, 0] for r in records]
        turned = [
            torsion_flips(angles, r.interval * (r.landings[1] - r.landings[0]))
            for angles, r in zip(parts, records, strict=True)
            if len(angles) > 1
        ]
        if turned:
            count = sum(t.count for t in turned)
            nanoseconds = sum(t.nanoseconds for t in turned)
            rows[label(numbers, group)] = {
                "count": count,
                "per_ns": count / nanoseconds,
                "error_per_ns": float(np.sqrt(max(count, 1))) / nanoseconds,
            }
    return rows


def find_broken(records: Sequence[Record], coordinates: Indices) -> dict[str, Mapping[str, Any]]:
    """Runs in which a bond of the first frame is broken at a landing.

    Parameters
    ----------
    records : sequence of Record
    coordinates : mapping
        Indices of the internal coordinates.

    Returns
    -------
    dict
        ``broken``: the bonds by number of the run. ``handed_over``: those of runs that hold
        together: an atom of each broken bond is bonded to a new partner by then, as a proton that
        is transferred.
    """
    broken, handed_over = dict[str, list[str]](), dict[str, list[str]]()
    for number, record in enumerate(records):
        bonds, whole = _broken(record, coordinates)
        if bonds:
            broken[str(number)] = bonds
        if bonds and whole:
            handed_over[str(number)] = bonds
    return {"broken": broken, "handed_over": handed_over}


def _broken(record: Record, coordinates: Indices) -> tuple[list[str], bool]:
    """Each bond that breaks, as text, and whether all of them leave an atom at a new partner."""
    bonds = coordinates["bonds"]
    if not bonds:
        return [], True
    radii = covalent_radii[record.numbers]
    landings = record.landings
    lengths = bond_lengths(record.positions[landings], bonds)
    texts, whole = list[str](), True
    for bond, series in zip(bonds, lengths.T, strict=True):
        gone = np.flatnonzero(~(series <= BROKEN * radii[list(bond)].sum()))
        if not len(gone):
            continue
        clock = landings[gone[0]]
        text = f"{label(record.numbers, bond)} at frame {clock} ({series[gone[0]]:.2f} A)"
        partner = _new_partner(record.positions[clock], radii, bond, bonds)
        if partner is None:
            whole = False
        else:
            text += f", now {label(record.numbers, partner)}"
        texts.append(text)
    return texts, whole


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
