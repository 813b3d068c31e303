"""Neighbours of the atoms of a batch in periodic cells, images among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kstep_integrators.nn.common.neighbor_lists import Box, build_skin_list
from kstep_training.dataset.batches import Batch

__all__ = ["in_cells"]

SLOTS = 8
"""Rows of neighbours have a multiple of so many slots, so that few shapes are compiled."""


def in_cells(
    batch: Batch,
    cells: Sequence[npt.NDArray[np.float64]] | npt.NDArray[np.float64],
    pbc: Sequence[tuple[bool, bool, bool]],
    cutoff: float,
) -> Batch:
    """The same frames with the neighbours of their atoms in their cells.

    Parameters
    ----------
    batch : Batch
    cells : (B, 3, 3) float64, angstrom
    pbc : B of (bool, bool, bool)
        Each with one periodic direction at least.
    cutoff : float
        angstrom.
    """
    lists = []
    for row, (cell, periodic) in enumerate(zip(cells, pbc, strict=True)):
        real = batch.atom_mask[row]
        box = Box(torch.tensor(cell).unsqueeze(0), periodic)
        x = batch.positions[row, real].double()
        of_one = torch.zeros(len(x), dtype=torch.int64)
        lists.append(build_skin_list(x, batch.species[row, real], of_one, cutoff, 0.0, box).graph)
    width = -(-max(graph.pair_mask.shape[1] for graph in lists) // SLOTS) * SLOTS
    frames, atoms = batch.species.shape
    neighbors = torch.zeros(frames, atoms, width, dtype=torch.int64)
    mask = torch.zeros(frames, atoms, width, dtype=torch.bool)
    offsets = torch.zeros(frames, atoms, width, 3)
    for row, graph in enumerate(lists):
        n, k = graph.pair_mask.shape
        neighbors[row, :n, :k], mask[row, :n, :k] = cast("Tensor", graph.index), graph.pair_mask
        offsets[row, :n, :k] = cast("Tensor", graph.offsets).float()
    return dataclasses.replace(batch, neighbors=neighbors, neighbor_mask=mask, offsets=offsets)
