"""Internal coordinates of each frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bond_lengths"]

Array = NDArray[np.float64]


def bond_lengths(positions: ArrayLike, pairs: ArrayLike) -> Array:
    """Distances between pairs of atoms, without periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (..., N, 3), angstrom.
    pairs : array_like of int
        Shape (B, 2), indices of atoms.

    Returns
    -------
    numpy.ndarray
        Shape (..., B), angstrom.
    """
    x = np.asarray(positions, dtype=np.float64)
    index = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return np.asarray(np.linalg.norm(x[..., index[:, 0], :] - x[..., index[:, 1], :], axis=-1))
