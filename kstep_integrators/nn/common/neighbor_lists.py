"""Neighbour rows: all pairs for small molecules, a skin list for large ones and in cells.

Both give the network the same numbers, because its cutoff is smooth and pairs beyond it contribute
exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.mechanics.near_pairs import neighbor_pairs
from kstep_integrators.mechanics.padding import Padding, make_padding
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.state import PhaseState

__all__ = [
    "Box",
    "SkinList",
    "build_skin_list",
    "dense_graph",
    "dense_layout",
    "refresh",
]


@dataclass(frozen=True)
class Box:
    """Periodic cells of molecules.

    Attributes
    ----------
    cells : (B, 3, 3) float64, angstrom
        Of each molecule, as rows.
    pbc : (bool, bool, bool)
        Periodic directions, at least one.
    """

    cells: Tensor
    pbc: tuple[bool, bool, bool]

    @classmethod
    def of(cls, state: PhaseState) -> Box | None:
        """The cells of a state; None in open space."""
        return cls(state.cell, state.pbc) if any(state.pbc) else None


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
    box : Box or None
    """

    graph: Graph
    built_at: Tensor
    reach: float
    skin: float
    batch: Tensor
    box: Box | None = None


def build_skin_list(
    positions: Tensor,
    species: Tensor,
    batch: Tensor,
    cutoff: float,
    skin: float = 1.0,
    box: Box | None = None,
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
    box : Box, optional
        With it, neighbours are images too.

    Notes
    -----
    In open space all distances are computed, N^2 of them in blocks of rows; for the thousands of
    atoms that a quantum calculation can treat this costs less than one pass of the network. In
    cells the search is that of vesin, at linear cost.
    """
    n, reach = len(positions), cutoff + skin
    if box is not None:
        graph = _image_rows(positions.detach(), species, batch, reach, box)
        return SkinList(graph, positions.detach(), reach, skin, batch, box)
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


def _image_rows(positions: Tensor, species: Tensor, batch: Tensor, reach: float, box: Box) -> Graph:
    """Rows of the neighbours within a reach, each image of an atom in a slot of its own."""
    finite = positions.isfinite().all(1)
    found = []
    for molecule, cell in enumerate(box.cells):
        atoms = torch.nonzero((batch == molecule) & finite).flatten()
        pairs, offsets = neighbor_pairs(positions[atoms], cell, box.pbc, reach)
        found.append((atoms[pairs], offsets))
    pairs, offsets = (torch.cat(parts) for parts in zip(*found, strict=True))
    count = torch.bincount(pairs[:, 0], minlength=len(positions))
    width = max(1, int(count.max()))
    slot = torch.arange(len(pairs), device=pairs.device) - (count.cumsum(0) - count)[pairs[:, 0]]
    rows = torch.arange(len(positions), device=pairs.device).unsqueeze(1).repeat(1, width)
    rows[pairs[:, 0], slot] = pairs[:, 1]
    images = offsets.new_zeros(len(positions), width, 3)
    images[pairs[:, 0], slot] = offsets
    mask = torch.arange(width, device=pairs.device) < count.unsqueeze(1)
    return Graph(species, torch.ones_like(species, dtype=torch.bool), mask, rows, images)


def refresh(old: SkinList, positions: Tensor) -> SkinList:
    """Keep a list while no atom has moved more than half the skin, else build a new one.

    Atoms whose positions are not finite have no say; the guard deals with their molecule.
    """
    moved = (positions - old.built_at).square().sum(1)
    if bool(moved.nan_to_num(0.0, 0.0, 0.0).max() <= (0.5 * old.skin) ** 2):
        return old
    cutoff = old.reach - old.skin
    return build_skin_list(positions, old.graph.species, old.batch, cutoff, old.skin, old.box)
