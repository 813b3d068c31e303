"""Bond watch: bonds of a state, and warnings of those that break or form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from ase.data import chemical_symbols, covalent_radii
from torch import Tensor

from kstep_integrators.fields import ATOM_INDEX, OF_ATOMS, derived, scoped
from kstep_integrators.state import PhaseState, Reasons

__all__ = ["Topology", "bond_changes", "find_bonds"]

BOND, FORMED, BROKEN = 1.3, 1.2, 1.6
"""Distances over the sum of the covalent radii: of a bond at first, of one that has formed since,
and of one that has broken. The gap keeps vibrations from being reported."""


@dataclass(frozen=True)
class Topology:
    """The bonds of a state.

    Attributes
    ----------
    pairs : (P, 2) int64
        Pairs of atoms within each molecule.
    length : (P,) float64, angstrom
        Sum of the covalent radii.
    bonded : (P,) bool
    """

    pairs: Tensor = scoped(ATOM_INDEX)
    length: Tensor = scoped(OF_ATOMS)
    bonded: Tensor = scoped(OF_ATOMS)


def find_bonds(state: PhaseState) -> Topology:
    """Bonds at a geometry: distances against covalent radii (Cordero, doi:10.1039/b801115j).

    Parameters
    ----------
    state : PhaseState
    """
    device = state.positions.device
    batch = state.batch.cpu()
    pairs = torch.cat(
        [
            torch.combinations(torch.nonzero(batch == molecule).flatten())
            for molecule in range(state.n_molecules)
        ]
    )
    radii = torch.from_numpy(covalent_radii[state.numbers.cpu().numpy()])
    length = (radii[pairs[:, 0]] + radii[pairs[:, 1]]).to(device)
    pairs = pairs.to(device)
    return Topology(pairs, length, _distances(state, pairs) < BOND * length)


def bond_changes(topology: Topology, state: PhaseState) -> tuple[Topology, Reasons]:
    """Bonds that have formed or broken since the last look.

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
    distances = _distances(state, topology.pairs)
    least, most = derived(topology, "limits", _limits)
    changed = (distances < least) | (distances > most)
    if not bool(changed.any()):
        return topology, {}
    symbols = [chemical_symbols[z] for z in state.numbers.tolist()]
    first = torch.searchsorted(state.batch, torch.arange(state.n_molecules).to(state.batch))
    changes: Reasons = {}
    for (i, j), molecule, start, was, distance in zip(
        topology.pairs[changed].tolist(),
        state.batch[topology.pairs[changed, 0]].tolist(),
        first[state.batch[topology.pairs[changed, 0]]].tolist(),
        topology.bonded[changed].tolist(),
        distances[changed].tolist(),
        strict=True,
    ):
        bond = f"{symbols[i]}{i - start}-{symbols[j]}{j - start}"
        text = f"the bond {bond} has {'broken' if was else 'formed'} ({distance:.2f} A)"
        before = f"{changes[molecule]}; " if molecule in changes else ""
        changes[molecule] = before + text
    return replace(topology, bonded=topology.bonded ^ changed), changes


def _limits(topology: Topology) -> tuple[Tensor, Tensor]:
    """Distances (P,) angstrom between which each pair stays what it is, bonded or not."""
    least = torch.where(topology.bonded, 0.0, FORMED * topology.length)
    return least, torch.where(topology.bonded, BROKEN * topology.length, torch.inf)


def _distances(state: PhaseState, pairs: Tensor) -> Tensor:
    """(P,) angstrom; of the nearest image along periodic axes, good for bonds in any usual cell."""
    ends = state.positions.index_select(0, pairs.flatten()).view(-1, 2, 3)
    vectors = ends[:, 1] - ends[:, 0]
    if any(state.pbc):
        periodic = torch.tensor(state.pbc, dtype=vectors.dtype, device=vectors.device)
        cell = torch.where(periodic.bool().unsqueeze(1), state.cell, torch.eye(3).to(state.cell))
        vectors = vectors - ((vectors @ torch.linalg.inv(cell)).round() * periodic) @ cell
    distances: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return distances
