"""Near pairs: atoms within a distance of each other, with every periodic image, at linear cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from ase.geometry import complete_cell
from torch import Tensor
from vesin import NeighborList

__all__ = ["near_pairs", "neighbor_pairs", "periodic_cell"]

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def periodic_cell(cell: Array, pbc: tuple[bool, bool, bool]) -> Array:
    """Cell (3, 3) whose open directions are unit vectors normal to the others."""
    full: Array = complete_cell(np.where(np.array(pbc)[:, None], cell, 0.0))
    return full


def neighbor_pairs(
    positions: Tensor, cell: Tensor, pbc: tuple[bool, bool, bool], reach: float
) -> tuple[Tensor, Tensor]:
    """Pairs of atoms within a distance of each other, from both ends, on the device of the atoms.

    Atoms may lie outside of the cell; the cell may be skewed, and smaller than the distance: an
    atom is then beside its own images.

    Parameters
    ----------
    positions : (N, 3) float64, angstrom
        Finite.
    cell : (3, 3) float64, angstrom
    pbc : tuple of three bool
    reach : float, angstrom

    Returns
    -------
    (P, 2) int64
        Atoms i and j, ordered by i, then j, then image, whatever geometry they were found at.
    (P, 3) float64, angstrom
        Whole cell vectors, to be added to the vector from i to j for that image.
    """
    lattice = torch.from_numpy(periodic_cell(cell.cpu().numpy(), pbc)).to(positions)
    periodic = torch.tensor(pbc, device=positions.device)
    # A list is made from fractions of the cell, and not from positions far outside of it.
    whole = (positions @ torch.linalg.inv(lattice)).floor() * periodic
    search = NeighborList(cutoff=reach, full_list=True, n_threads=1)
    pairs, shifts = search.compute(positions - whole @ lattice, lattice, periodic, "PS")
    first, second = pairs.to(torch.int64).unbind(1)
    images = shifts.to(whole) - whole[second] + whole[first]
    order = torch.arange(len(first), device=first.device)
    for key in (*images.unbind(1)[::-1], first * len(positions) + second):
        order = order[torch.argsort(key[order], stable=True)]
    return torch.stack([first, second], 1)[order], images[order] @ lattice


def near_pairs(
    positions: Array, cell: Array, pbc: tuple[bool, bool, bool], reach: float
) -> tuple[Indices, Array, Array]:
    """Pairs of different atoms within a distance of each other, each image of the second apart.

    Parameters are those of :func:`neighbor_pairs`, as arrays.

    Returns
    -------
    (P, 2) array of int64
        Atoms i < j; a pair comes once for each image of j that is near.
    (P, 3) array, angstrom
        Cell vectors to be added to the vector from i to j for that image.
    (P,) array, angstrom
        Distances.
    """
    found = neighbor_pairs(torch.from_numpy(positions), torch.from_numpy(cell), pbc, reach)
    pairs, offsets = (part.numpy() for part in found)
    once = pairs[:, 0] < pairs[:, 1]
    pairs, offsets = pairs[once], offsets[once]
    vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]] + offsets
    return pairs, offsets, np.linalg.norm(vectors, axis=1)
