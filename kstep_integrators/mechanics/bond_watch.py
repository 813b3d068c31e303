"""Bond watch: bonds of a state, and warnings of those that break or form.

In open space, small molecules have all their pairs compared. Larger ones, and all in periodic
cells, keep a list of near pairs that is made anew once an atom has moved, or the cell has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import find_mic
from torch import Tensor

from kstep_integrators.fields import ATOM, ATOM_INDEX, MOLECULE, OF_ATOMS, derived, scoped
from kstep_integrators.mechanics.near_pairs import near_pairs, periodic_cell
from kstep_integrators.state import PhaseState, Reasons

__all__ = ["Topology", "bond_changes", "find_bonds"]

BOND, FORMED, BROKEN = 1.3, 1.2, 1.6
"""Distances over the sum of the covalent radii: of a bond at first, of one that has formed since,
and of one that has broken. The gap keeps vibrations from being reported."""

FEW = 4
"""Metal atoms of a molecule in open space up to which their bonds are told of, as below."""

_CATIONS = torch.tensor([3, 11, 12, 19, 20, 21, 37, 38, 39, 55, 56, *range(57, 72), 87, 88])
"""Metals that make ions and no covalent bonds: groups 1 to 3 without beryllium, lanthanides."""

_NONMETALS = torch.tensor(
    [0, 1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86]
)

SMALL = 64
"""Atoms of a molecule up to which all pairs are compared, which takes no list."""

SKIN = 1.0
"""Angstrom that pairs are listed beyond the distances of bonds: atoms move half of it at least."""


@dataclass(frozen=True)
class Topology:
    """The bonds of a state.

    Attributes
    ----------
    pairs : (P, 2) int64
        Pairs of atoms within each molecule that are looked at: all, or those that are near. In a
        periodic cell a pair is there once for each image of its second atom that is near.
    length : (P,) float64, angstrom
        Sum of the covalent radii.
    bonded : (P,) bool
    offset : (P, 3) float64, angstrom, or None
        Cell vectors to the image of the second atom; None in open space.
    origin : (N, 3) float64, angstrom, or None
        Positions at which the list was made; None if it has all pairs.
    cell : (B, 3, 3) float64, angstrom, or None
        Cells with which the list was made.
    """

    pairs: Tensor = scoped(ATOM_INDEX)
    length: Tensor = scoped(OF_ATOMS)
    bonded: Tensor = scoped(OF_ATOMS)
    offset: Tensor | None = scoped(OF_ATOMS, default=None)
    origin: Tensor | None = scoped(ATOM, default=None)
    cell: Tensor | None = scoped(MOLECULE, default=None)


def find_bonds(state: PhaseState) -> Topology:
    """Bonds at a geometry: distances against covalent radii (Cordero, doi:10.1039/b801115j).

    Parameters
    ----------
    state : PhaseState
    """
    sizes = torch.bincount(state.batch)
    if any(state.pbc) or int(sizes.max()) > SMALL:
        return _list(state, None)
    device = state.positions.device
    batch = state.batch.cpu()
    pairs = torch.cat(
        [
            torch.combinations(torch.nonzero(batch == molecule).flatten())
            for molecule in range(state.n_molecules)
        ]
    ).to(device)
    length = _lengths(state, pairs)
    topology = Topology(pairs, length, torch.zeros_like(length, dtype=torch.bool))
    return replace(topology, bonded=_distances(state, topology) < BOND * length)


def bond_changes(topology: Topology, state: PhaseState) -> tuple[Topology, Reasons]:
    """Bonds that have formed or broken since the last look.

    In cells and clusters, those between two metal atoms and those of ions (of alkali and alkaline
    earth metals, group 3, lanthanides; as in a molten salt or an electrolyte) come and go with
    heat: atoms of a crystal and of its second shell are between the two distances. They are
    followed and not told of.

    Parameters
    ----------
    topology : Topology
    state : PhaseState
        Of the same atoms.

    Returns
    -------
    Topology
        With the changes, so that each is reported once.
    dict of int to str
        Changes in each molecule; atoms are counted within the molecule.
    """
    if _outdated(topology, state):
        topology = _list(state, topology)
    distances = _distances(state, topology)
    least, most = derived(topology, "limits", _limits)
    if torch.equal(distances.clamp(least, most), distances):  # nearly always, and so it is short
        return topology, {}
    changed = (distances < least) | (distances > most)
    if not bool(changed.any()):
        return topology, {}
    if topology.offset is not None:
        # A bond lasts as long as one image of the other atom is near.
        pair, place = torch.unique(topology.pairs, dim=0, return_inverse=True)
        least_of = torch.full_like(distances[: len(pair)], torch.inf)
        nearest = least_of.scatter_reduce(0, place, distances, "amin")[place]
        changed = (nearest < least) | (nearest > most)
        if not bool(changed.any()):
            return topology, {}
        bonded = topology.bonded ^ changed
        once = changed & (distances == nearest)
    else:
        bonded, once = topology.bonded ^ changed, changed
    once = once & ~_not_covalent(state, topology.pairs)
    symbols = [chemical_symbols[z] for z in state.numbers.tolist()]
    first = torch.searchsorted(state.batch, torch.arange(state.n_molecules).to(state.batch))
    changes: Reasons = {}
    told = set()
    for (i, j), molecule, start, was, distance in zip(
        topology.pairs[once].tolist(),
        state.batch[topology.pairs[once, 0]].tolist(),
        first[state.batch[topology.pairs[once, 0]]].tolist(),
        topology.bonded[once].tolist(),
        distances[once].tolist(),
        strict=True,
    ):
        if (i, j) in told:
            continue
        told.add((i, j))
        bond = f"{symbols[i]}{i - start}-{symbols[j]}{j - start}"
        text = f"the bond {bond} has {'broken' if was else 'formed'} ({distance:.2f} A)"
        before = f"{changes[molecule]}; " if molecule in changes else ""
        changes[molecule] = before + text
    after = replace(topology, bonded=bonded)
    # A bond is followed farther than what is none.
    return (after if after.origin is None else _list(state, after)), changes


def _not_covalent(state: PhaseState, pairs: Tensor) -> Tensor:
    """Pairs (P,) of two metals, or with an ion, in a cell or a molecule with many metal atoms."""
    metal = ~torch.isin(state.numbers, _NONMETALS.to(state.numbers.device))
    count = torch.zeros_like(state.time).index_add(0, state.batch, metal.to(state.time))
    many = torch.full_like(count, any(state.pbc), dtype=torch.bool) | (count > FEW)
    ion = torch.isin(state.numbers, _CATIONS.to(state.numbers.device))
    loose: Tensor = metal[pairs].all(1) | ion[pairs].any(1)
    return loose & many[state.batch][pairs[:, 0]]


def _limits(topology: Topology) -> tuple[Tensor, Tensor]:
    """Distances (P,) angstrom between which each pair stays what it is, bonded or not."""
    least = torch.where(topology.bonded, 0.0, FORMED * topology.length)
    return least, torch.where(topology.bonded, BROKEN * topology.length, torch.inf)


def _lengths(state: PhaseState, pairs: Tensor) -> Tensor:
    """Sums (P,) of covalent radii, angstrom."""
    radii = torch.from_numpy(covalent_radii[state.numbers.cpu().numpy()]).to(pairs.device)
    return radii[pairs[:, 0]] + radii[pairs[:, 1]]


def _ends(topology: Topology) -> tuple[Tensor, Tensor]:
    """First and second atoms (P,) of the pairs."""
    return topology.pairs[:, 0].contiguous(), topology.pairs[:, 1].contiguous()


def _distances(state: PhaseState, topology: Topology) -> Tensor:
    """(P,) angstrom, of the images that are listed."""
    first, second = derived(topology, "ends", _ends)
    vectors = state.positions.index_select(0, second) - state.positions.index_select(0, first)
    if topology.offset is not None:
        vectors = vectors + topology.offset
    distances: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return distances


def _outdated(topology: Topology, state: PhaseState) -> bool:
    """True if an atom has moved half of the skin, or is lost, or the cell has changed."""
    if topology.origin is None:
        return False
    cell = topology.cell
    if cell is not None and cell is not state.cell and not torch.equal(cell, state.cell):
        return True
    moved = (state.positions - topology.origin).square().sum(1).max()
    return not bool(moved <= (0.5 * SKIN) ** 2)


def _list(state: PhaseState, before: Topology | None) -> Topology:
    """Near pairs at a geometry, and bonds: those of before, or those that are found."""
    x, device = state.positions.detach().cpu().numpy(), state.positions.device
    cells, radii = state.cell.cpu().numpy(), covalent_radii[state.numbers.cpu().numpy()]
    batch, count = state.batch.cpu().numpy(), len(state.numbers)
    known = np.zeros((0, 2), dtype=np.int64)
    if before is not None:
        known = np.unique(before.pairs[before.bonded].cpu().numpy().reshape(-1, 2), axis=0)
    finite = np.isfinite(x).all(1)
    found = []
    for molecule in range(state.n_molecules):
        atoms = np.flatnonzero((batch == molecule) & finite)
        if len(atoms) > 1:
            reach = 2 * BROKEN * float(radii[atoms].max()) + SKIN
            pairs, offsets, distances = near_pairs(x[atoms], cells[molecule], state.pbc, reach)
            found.append((atoms[pairs], offsets, distances))
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(part[0] for part in found)])
    offsets = np.concatenate([np.zeros((0, 3)), *(part[1] for part in found)])
    distances = np.concatenate([np.zeros(0), *(part[2] for part in found)])
    length = radii[pairs[:, 0]] + radii[pairs[:, 1]]
    keys = pairs[:, 0] * count + pairs[:, 1]
    if before is None:
        bonded = np.isin(keys, keys[distances < BOND * length])
    else:
        bonded = np.isin(keys, known[:, 0] * count + known[:, 1])
    listed = distances < np.where(bonded, BROKEN, FORMED) * length + SKIN
    pairs, offsets, bonded = pairs[listed], offsets[listed], bonded[listed]
    far = known[~np.isin(known[:, 0] * count + known[:, 1], keys[listed])]
    if len(far):
        # Torn apart since the last look, or lost: seen at the nearest image.
        vectors = x[far[:, 1]] - x[far[:, 0]]
        nearest = vectors.copy()
        seen = np.isfinite(vectors).all(1)
        for molecule in np.unique(batch[far[seen, 0]]) if any(state.pbc) else ():
            here = seen & (batch[far[:, 0]] == molecule)
            lattice = periodic_cell(cells[molecule], state.pbc)
            nearest[here] = find_mic(vectors[here], lattice, state.pbc)[0]
        shift = np.where(seen[:, None], nearest - vectors, 0.0)
        pairs, offsets = np.concatenate([pairs, far]), np.concatenate([offsets, shift])
        bonded = np.concatenate([bonded, np.ones(len(far), dtype=bool)])
    rows = torch.from_numpy(pairs).to(device)
    return Topology(
        rows,
        _lengths(state, rows),
        torch.from_numpy(bonded).to(device),
        torch.from_numpy(offsets).to(device) if any(state.pbc) else None,
        state.positions,
        state.cell,
    )
