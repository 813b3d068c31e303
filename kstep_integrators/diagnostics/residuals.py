"""Residual forces of a potential against the physics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["residual_rms"]


def residual_rms(physics_forces: ArrayLike, potential_forces: ArrayLike) -> float:
    """Root mean square of the residual, over all force components.

    Parameters
    ----------
    physics_forces, potential_forces : array_like
        Same shape (..., N, 3), eV/angstrom, at the same geometries.

    Returns
    -------
    float
        eV/angstrom for each Cartesian component.

    Raises
    ------
    ValueError
        If the shapes differ or are empty.

    Examples
    --------
    >>> residual_rms([[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]])
    1.0
    """
    physics = np.asarray(physics_forces, dtype=np.float64)
    potential = np.asarray(potential_forces, dtype=np.float64)
    if physics.shape != potential.shape or physics.size == 0:
        raise ValueError(
            f"physics_forces and potential_forces have shapes {physics.shape} and "
            f"{potential.shape}; expected the same shape with at least one atom"
        )
    return float(np.sqrt(np.mean((physics - potential) ** 2)))
