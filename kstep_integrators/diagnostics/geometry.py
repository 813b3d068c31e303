"""Internal coordinates of the frames of a trajectory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bond_angles", "bond_lengths", "dihedral_angles", "distance_between"]

Array = NDArray[np.float64]


def _points(positions: ArrayLike, groups: ArrayLike, size: int) -> list[Array]:
    """The positions of the first, second, ... atom of each group, (..., G, 3) each."""
    x = np.asarray(positions, dtype=np.float64)
    index = np.asarray(groups, dtype=np.int64).reshape(-1, size)
    return [np.asarray(x[..., column, :]) for column in index.T]


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

    Examples
    --------
    >>> water = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> bond_lengths(water, [[0, 1], [0, 2]]).tolist()
    [1.0, 1.0]
    """
    a, b = _points(positions, pairs, 2)
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def bond_angles(positions: ArrayLike, triples: ArrayLike) -> Array:
    """Angles at the middle atom of each triple, without periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (..., N, 3), angstrom.
    triples : array_like of int
        Shape (A, 3), indices of atoms.

    Returns
    -------
    numpy.ndarray
        Shape (..., A), radians in [0, pi]; accurate at both ends too.

    Examples
    --------
    >>> import numpy as np
    >>> water = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> np.degrees(bond_angles(water, [[1, 0, 2]])).tolist()
    [90.0]
    """
    a, b, c = _points(positions, triples, 3)
    u, v = a - b, c - b
    across = np.linalg.norm(np.cross(u, v), axis=-1)
    return np.asarray(np.arctan2(across, np.sum(u * v, axis=-1)))


def dihedral_angles(positions: ArrayLike, quadruples: ArrayLike) -> Array:
    """Torsions about the middle bond of each quadruple, without periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (..., N, 3), angstrom.
    quadruples : array_like of int
        Shape (T, 4), indices of atoms.

    Returns
    -------
    numpy.ndarray
        Shape (..., T), radians in (-pi, pi], with the sign of the IUPAC convention
        (doi:10.1351/goldbook.T06406): 0 is cis, positive is clockwise along the middle bond.

    Examples
    --------
    >>> import numpy as np
    >>> chain = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]
    >>> np.degrees(dihedral_angles(chain, [[0, 1, 2, 3]])).tolist()
    [180.0]
    """
    a, b, c, d = _points(positions, quadruples, 4)
    axis = c - b
    left, right = np.cross(b - a, axis), np.cross(axis, d - c)
    sine = np.sum((b - a) * right, axis=-1) * np.linalg.norm(axis, axis=-1)
    return np.asarray(np.arctan2(sine, np.sum(left * right, axis=-1)))


def distance_between(first: ArrayLike, second: ArrayLike) -> Array:
    """Root mean square distance of the atoms of two structures, without superposition.

    Parameters
    ----------
    first, second : array_like
        Shape (..., N, 3), angstrom.

    Returns
    -------
    numpy.ndarray
        Shape (...), angstrom.

    Examples
    --------
    >>> distance_between([[0.0, 0.0, 0.0]], [[0.0, 3.0, 4.0]]).item()
    5.0
    """
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.asarray(np.sqrt((gap**2).sum(axis=-1).mean(axis=-1)))
