"""Neighbour rows: all pairs for small molecules, a skin list for large ones.

Both give the network the same numbers, because its cutoff is smooth and pairs beyond it contribute
exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.mechanics.padding import Padding, make_padding
from kstep_integrators.nn.common.graph import Graph

__all__ = [
    "SkinList",
    "build_skin_list",
    "dense_graph",
    "dense_layout",
    "refresh",
]


def dense_graph(species: Tensor, padding: Padding) -> Graph:
    """Graph of all pairs of each molecule.

    Parameters
    ----------
    species : (N,) int64
    padding : Padding
    """
    real = padding.pad(torch.ones_like(species, dtype=torch.bool))
    others = ~torch.eye(padding.shape[1], dtype=torch.bool, device=species.device)
    return Graph(padding.pad(species), real, real.unsqueeze(2) & real.unsqueeze(1) & others)


def dense_layout(species: Tensor, batch: Tensor, device: torch.device) -> tuple[Padding, Graph]:
    """Padding and all pairs of the molecules of a state, on a device.

    Parameters
    ----------
    species, batch : (N,) int64
    device : torch.device

    Notes
    -----
    Sizes are read off on the host, once; from here on only numbers on the device are used.
    """
    padding = make_padding(batch.cpu())
    return padding.to(device), dense_graph(species.cpu(), padding).to(device)


@dataclass(frozen=True)
class SkinList:
    """Pairs within cutoff + skin of the geometry the list was built at.

    Attributes
    ----------
    graph : Graph
        Rows of (N, K) slots.
    built_at : (N, 3) angstrom
    reach : float
        cutoff + skin, angstrom.
    skin : float
        angstrom.
    batch : (N,) int64
    """

    graph: Graph
    built_at: Tensor
    reach: float
    skin: float
    batch: Tensor


def build_skin_list(
    positions: Tensor, species: Tensor, batch: Tensor, cutoff: float, skin: float = 1.0
) -> SkinList:
    """Build a list on the device that holds the positions.

    Parameters
    ----------
    positions : (N, 3) angstrom
    species : (N,) int64
    batch : (N,) int64
        Atoms of different molecules are never neighbours.
    cutoff, skin : float
        angstrom.

    Notes
    -----
    All distances are computed, N^2 of them in blocks of rows; for the thousands of atoms that a
    quantum calculation can treat this costs less than one pass of the network.
    """
    n, reach = len(positions), cutoff + skin
    order = torch.arange(n, device=positions.device)
    masks = []
    for rows in order.split(max(1, 4_000_000 // n)):
        vectors = positions.unsqueeze(0) - positions[rows].unsqueeze(1)
        close = vectors.square().sum(-1) < reach * reach
        close &= batch[rows].unsqueeze(1) == batch.unsqueeze(0)
        close &= rows.unsqueeze(1) != order.unsqueeze(0)
        masks.append(close)
    close = torch.cat(masks)
    width = max(1, int(close.sum(1).max()))
    # Stable sort brings the neighbours to the front of each row, in ascending order.
    index = torch.sort((~close).to(torch.uint8), dim=1, stable=True).indices[:, :width]
    mask = torch.gather(close, 1, index)
    graph = Graph(species, torch.ones_like(species, dtype=torch.bool), mask, index)
    return SkinList(graph, positions.detach(), reach, skin, batch)


def refresh(old: SkinList, positions: Tensor) -> SkinList:
    """Keep a list while no atom has moved more than half the skin, else build a new one.

    Atoms whose positions are not finite have no say; the guard deals with their molecule.
    """
    moved = (positions - old.built_at).square().sum(1)
    if bool(moved.nan_to_num(0.0, 0.0, 0.0).max() <= (0.5 * old.skin) ** 2):
        return old
    return build_skin_list(positions, old.graph.species, old.batch, old.reach - old.skin, old.skin)
