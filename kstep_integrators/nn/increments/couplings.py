r"""Couplings of vectors along the directions between atoms, of which increment layers are made.

Atoms carry scalars (B, N, F) and vectors (B, N, 3, F). The leading terms of an increment are
products of a Hessian with velocities and forces, and a function of distances couples two atoms by
:math:`a(r)\,\hat r \hat r^T + b(r)`. Projections of relative vectors on the directions between
atoms, multiplied by the directions again, are therefore what a layer is made of; products with
further Hessians come from further layers.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["along", "exchanged", "projections", "tempered"]


def projections(vectors: Tensor, unit: Tensor) -> Tensor:
    """Relative vectors along the directions: (B, N, 3, F) and (B, N, N, 3) to (B, N, N, F).

    The rate at which atoms move apart, if the vectors are velocities.
    """
    # Batched products of (N, 3) and (3, F) matrices: no array with a component axis is formed.
    from_others = (unit.transpose(1, 2) @ vectors).transpose(1, 2)
    return from_others - unit @ vectors


def along(coefficients: Tensor, unit: Tensor) -> Tensor:
    """Sum of the directions times coefficients (B, N, N, F) over neighbours, (B, N, 3, F)."""
    return unit.transpose(-1, -2) @ coefficients


def exchanged(weights: Tensor, vectors: Tensor) -> Tensor:
    """Sum over j of weights (B, H, N, N) times vectors j minus i, (B, N, 3, F), head by head."""
    heads = weights.shape[1]
    grouped = vectors.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4)
    flat = grouped.flatten(3)
    total: Tensor = weights @ flat - weights.sum(-1, keepdim=True) * flat
    return total.reshape(grouped.shape).permute(0, 2, 3, 1, 4).flatten(3)


def tempered(vectors: Tensor) -> Tensor:
    """Vectors (..., 3, F) of an atom, all shortened alike if they are far larger than one.

    Features of higher order in them then cannot run away from layer to layer.
    """
    size = vectors.square().mean((-1, -2), keepdim=True)
    return vectors / (1.0 + size / 16.0).sqrt()
