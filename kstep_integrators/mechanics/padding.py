"""Molecules of different sizes as rows of one padded array."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Padding", "make_padding"]


@dataclass(frozen=True)
class Padding:
    """Map of a flat set of atoms to B molecules of equal padded size M.

    Attributes
    ----------
    slots : (N,) int64
        Row of each atom in the flattened (B * M) array.
    shape : (int, int)
        B and M.
    """

    slots: Tensor
    shape: tuple[int, int]

    def to(self, device: torch.device) -> Padding:
        """The same padding on another device."""
        return Padding(self.slots.to(device), self.shape)

    def pad(self, values: Tensor) -> Tensor:
        """(N, *F) -> (B, M, *F), padding with zeros."""
        rows = self.shape[0] * self.shape[1]
        if rows == len(values):
            return values.reshape(*self.shape, *values.shape[1:])
        wide = torch.zeros(rows, *values.shape[1:], dtype=values.dtype, device=values.device)
        return wide.index_copy(0, self.slots, values).reshape(*self.shape, *values.shape[1:])

    def flat(self, values: Tensor) -> Tensor:
        """(B, M, *F) -> (N, *F), dropping the padding."""
        rows = values.reshape(self.shape[0] * self.shape[1], *values.shape[2:])
        return rows if len(rows) == len(self.slots) else rows.index_select(0, self.slots)


def make_padding(batch: Tensor) -> Padding:
    """Padding of molecules given by ``batch`` (N,) to the size of the largest."""
    counts = torch.bincount(batch)
    width = int(counts.max())
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(batch), device=batch.device) - first[batch]
    return Padding(batch * width + rank, (len(counts), width))
