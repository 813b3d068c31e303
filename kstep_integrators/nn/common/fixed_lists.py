"""Neighbour rows of a width given beforehand, for a GPU that must not wait for the host.

How many neighbours the atoms of a geometry have is known on the device only. A list that is as wide
as they need has to ask, which stops the device; this one is told how wide to be, and says how wide
it should have been.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.graph import Graph

__all__ = ["ListPlan", "fixed_list", "list_plan"]

BLOCK = 4_000_000
"""Distances that are computed at once."""


@dataclass(frozen=True)
class ListPlan:
    """The atoms among which each atom's neighbours are looked for: those of its molecule.

    Attributes
    ----------
    species : (N,) int64
    batch : (N,) int64
        Molecule of each atom.
    atoms : (B, M) int64
        Atoms of each molecule, 0 in places that are empty.
    real : (B, M) bool
        Places that hold an atom.
    """

    species: Tensor
    batch: Tensor
    atoms: Tensor
    real: Tensor


def list_plan(species: Tensor, batch: Tensor, device: torch.device) -> ListPlan:
    """The plan of a set of atoms, on a device; sizes are read off on the host, once.

    Parameters
    ----------
    species, batch : (N,) int64
    device : torch.device
    """
    padding = make_padding(batch.cpu())
    atoms = padding.pad(torch.arange(len(batch)))
    real = padding.pad(torch.ones(len(batch), dtype=torch.bool))
    return ListPlan(species.to(device), batch.to(device), atoms.to(device), real.to(device))


def fixed_list(positions: Tensor, plan: ListPlan, reach: float, width: int) -> tuple[Graph, Tensor]:
    """The neighbours of each atom within a reach, in ascending order, in rows of a fixed width.

    Parameters
    ----------
    positions : (N, 3) angstrom
    plan : ListPlan
    reach : float
        angstrom.
    width : int
        Slots of a row. An atom of more neighbours lacks the last of them.

    Returns
    -------
    Graph
        Rows of (N, width) slots; empty ones name the atom itself.
    most : () int64
        Neighbours of the atom that has most. The list is complete if ``width`` is not below it.

    Notes
    -----
    All distances within each molecule are computed, in blocks of rows, as for
    :func:`~kstep_integrators.nn.common.neighbor_lists.build_skin_list`; every shape follows from
    the plan and the width.
    """
    places = plan.atoms.shape[1]
    wide = positions.index_select(0, plan.atoms.reshape(-1)).reshape(*plan.atoms.shape, 3)
    order = torch.arange(len(positions), device=positions.device)
    slots = torch.arange(width, device=positions.device)
    alone = len(plan.atoms) == 1
    rows, counts = [], []
    for atom in order.split(max(1, BLOCK // places)):
        # One row of places serves all atoms of a single molecule.
        molecule = plan.batch.index_select(0, atom[:1] if alone else atom)
        others = plan.atoms.index_select(0, molecule)
        vectors = wide.index_select(0, molecule) - positions.index_select(0, atom).unsqueeze(1)
        close = vectors.square().sum(-1) < reach * reach
        close = close & plan.real.index_select(0, molecule) & (others != atom.unsqueeze(1))
        slot = close.cumsum(1) - 1
        # What has no place in the row goes to one more slot, which is cut off.
        slot = slot.masked_fill(~close, width).clamp(max=width)
        row = atom.unsqueeze(1).repeat(1, width + 1).scatter(1, slot, others.expand_as(slot))
        rows.append(row[:, :width])
        counts.append(close.sum(1))
    count, index = torch.cat(counts), torch.cat(rows)
    mask = slots < count.unsqueeze(1)
    graph = Graph(plan.species, torch.ones_like(plan.species, dtype=torch.bool), mask, index)
    return graph, count.max()
