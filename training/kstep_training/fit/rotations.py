"""Random rotations of batches: molecules in vacuum have no preferred direction."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor

from kstep_training.dataset.batches import Batch, WindowBatch

__all__ = ["random_rotations", "rotated"]

AnyBatch = TypeVar("AnyBatch", Batch, WindowBatch)


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Rotation matrices without preferred direction, from unit quaternions.

    Parameters
    ----------
    count : int
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    (count, 3, 3) float64
        Of determinant 1.

    Notes
    -----
    Four normal numbers have a random direction in four dimensions, and unit quaternions of random
    direction are rotations of the uniform (Haar) measure: Shoemake, Graphics Gems III, 124 (1992),
    doi:10.1016/B978-0-08-050755-2.50036-1.
    """
    q = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, dim=1).reshape(count, 3, 3)


def rotated(batch: AnyBatch, generator: torch.Generator, per: str) -> AnyBatch:
    """A batch with all its vectors rotated.

    Parameters
    ----------
    batch : Batch or WindowBatch
    generator : torch.Generator
        On the CPU.
    per : str
        ``"batch"``: one rotation for all molecules; ``"graph"``: one for each.

    Raises
    ------
    ValueError
        If ``per`` is neither.
    """
    if per not in ("batch", "graph"):
        raise ValueError(f"rotations are per {per!r}, expected 'batch' or 'graph'")
    vectors = {
        name: tensor
        for name, tensor in vars(batch).items()
        if tensor is not None and tensor.is_floating_point() and tensor.ndim > 2
    }
    count = len(batch.species) if per == "graph" else 1
    turn = random_rotations(count, generator).to(batch.positions)
    turned = {
        name: tensor @ turn.transpose(1, 2).reshape(count, *[1] * (tensor.ndim - 3), 3, 3)
        for name, tensor in vectors.items()
    }
    return dataclasses.replace(batch, **turned)
