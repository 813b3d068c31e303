"""Near pairs: atoms within a distance of each other, with every periodic image, at linear cost."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

__all__ = ["near_pairs", "periodic_cell"]

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def periodic_cell(cell: Array, pbc: tuple[bool, bool, bool]) -> Array:
    """Cell (3, 3) whose open directions are unit vectors normal to the others."""
    full: Array = complete_cell(np.where(np.array(pbc)[:, None], cell, 0.0))
    return full


def near_pairs(
    positions: Array, cell: Array, pbc: tuple[bool, bool, bool], reach: float
) -> tuple[Indices, Array, Array]:
    """Pairs of different atoms within a distance of each other, each image of the second apart.

    Atoms may lie outside of the cell; the cell may be skewed, and smaller than the distance.

    Parameters
    ----------
    positions : (N, 3) array, angstrom
        Finite.
    cell : (3, 3) array, angstrom
    pbc : tuple of three bool
    reach : float, angstrom

    Returns
    -------
    (P, 2) array of int64
        Atoms i < j; a pair comes once for each image of j that is near.
    (P, 3) array, angstrom
        What is to be added to the vector from i to j for that image; whole cell vectors.
    (P,) array, angstrom
        Distances.
    """
    count = len(positions)
    atoms, whole = np.arange(count), np.zeros((count, 3))
    points, shifts = positions, np.zeros((count, 3))
    lattice = periodic_cell(cell, pbc)
    if any(pbc):
        inverse = np.linalg.inv(lattice)
        fractions = positions @ inverse
        whole = np.floor(fractions) * np.array(pbc)
        fractions = fractions - whole
        margin = reach * np.linalg.norm(inverse, axis=0)
        most = np.where(pbc, np.ceil(margin), 0).astype(int)
        parts = [(atoms, np.zeros((count, 3)))]
        for step in itertools.product(*(range(-n, n + 1) for n in most)):
            if not any(step):
                continue
            seen = fractions + step
            inside = (seen >= -margin) & (seen <= 1.0 + margin) | ~np.array(pbc)
            near = np.flatnonzero(inside.all(1))
            parts.append((near, np.broadcast_to(np.array(step, float), (len(near), 3))))
        atoms = np.concatenate([part[0] for part in parts])
        shifts = np.concatenate([part[1] for part in parts])
        points = (fractions[atoms] + shifts) @ lattice
    # The first `count` points are in the cell; a pair of two images is seen once more from there.
    found = cKDTree(points).query_pairs(reach, output_type="ndarray").reshape(-1, 2)
    found = found[found[:, 0] < count]
    first, second = atoms[found[:, 0]], atoms[found[:, 1]]
    kept = first < second
    first, second, images = first[kept], second[kept], shifts[found[kept, 1]]
    offsets = (images - whole[second] + whole[first]) @ lattice
    vectors = positions[second] - positions[first] + offsets
    pairs = np.stack([first, second], axis=1).astype(np.int64)
    return pairs, offsets, np.linalg.norm(vectors, axis=1)
