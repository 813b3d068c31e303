"""Hessians of potentials that give no second derivatives, by central differences of forces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kstep_integrators.state import HessianProducts

__all__ = ["difference_products"]

DISPLACEMENT = 0.005
"""angstrom; of the atom of each molecule that moves most."""


def difference_products(
    forces: Callable[[Tensor], Tensor], positions: Tensor, batch: Tensor
) -> HessianProducts:
    """The Hessian at one geometry, as what it makes of vectors: two calls of the forces for each.

    Parameters
    ----------
    forces : callable
        Positions (N, 3) angstrom -> (N, 3) eV/angstrom.
    positions : (N, 3) float64, angstrom
    batch : (N,) int64
        The molecule of each atom, ascending from 0, on the device of the positions.
    """

    def product(vector: Tensor) -> Tensor:
        longest = vector.new_zeros(int(batch[-1]) + 1)
        longest = longest.scatter_reduce(0, batch, vector.norm(dim=1), "amax")
        if not bool((longest != 0.0).any()):
            return torch.zeros_like(vector)
        step = torch.where(longest == 0.0, 1.0, DISPLACEMENT / longest)[batch].unsqueeze(1)
        forward, backward = (forces(positions + sign * step * vector) for sign in (1.0, -1.0))
        return (backward - forward) / (2.0 * step)

    return lambda vectors: torch.stack([product(vector) for vector in vectors])
