"""Bonds of a molecule turned, stretched and compressed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii

__all__ = ["Bonds", "bonds_of", "crowded", "stretched", "twisted"]

Array = npt.NDArray[np.float64]
Bonds = list[tuple[int, int, list[int]]]
"""Bonds in no ring: two atoms, and those that hang on the second, it included, the fewer ones."""

CROWDED = 0.8
"""Distance over the sum of the covalent radii, below which atoms that are not bonded are too close
for a geometry to be of use."""


def bonds_of(n_atoms: int, pairs: Sequence[tuple[int, int]]) -> Bonds:
    """Bonds that part a molecule in two.

    Parameters
    ----------
    n_atoms : int
    pairs : sequence of (int, int)
        All bonds.

    Examples
    --------
    >>> bonds_of(4, [(0, 1), (1, 2), (2, 3)])
    [(1, 0, [0]), (1, 2, [2, 3]), (2, 3, [3])]
    """
    near: list[set[int]] = [set() for _ in range(n_atoms)]
    for i, j in pairs:
        near[i].add(j)
        near[j].add(i)
    found: Bonds = []
    for i, j in pairs:
        side, todo = {j}, [j]
        while todo:
            atom = todo.pop()
            for other in near[atom] - side:
                if (atom, other) != (j, i):
                    side.add(other)
                    todo.append(other)
        if i in side:
            continue  # a ring
        if 2 * len(side) > n_atoms or (2 * len(side) == n_atoms and j < i):
            i, j, side = j, i, {*range(n_atoms)} - side
        found.append((i, j, sorted(side)))
    return found


def twisted(positions: Array, bond: tuple[int, int, list[int]], angle: float) -> Array:
    """Turn what hangs on a bond about it.

    Parameters
    ----------
    positions : (n_atoms, 3)
    bond : (int, int, list of int)
        One of :func:`bonds_of`.
    angle : float
        radians.

    Returns
    -------
    (n_atoms, 3)
        Rodrigues' rotation, all lengths and angles of bonds as they were.
    """
    i, j, side = bond
    axis = positions[j] - positions[i]
    axis = axis / np.linalg.norm(axis)
    arms = positions[side] - positions[j]
    along = (arms @ axis)[:, None] * axis
    turned = along + np.cos(angle) * (arms - along) + np.sin(angle) * np.cross(axis, arms)
    moved = positions.copy()
    moved[side] = positions[j] + turned
    return moved


def stretched(positions: Array, bond: tuple[int, int, list[int]], factor: float) -> Array:
    """Move what hangs on a bond along it, so that the bond gets longer by a factor, or shorter."""
    i, j, side = bond
    moved = positions.copy()
    moved[side] += (factor - 1.0) * (positions[j] - positions[i])
    return moved


def crowded(
    numbers: npt.NDArray[np.int64], positions: Array, pairs: Sequence[tuple[int, int]]
) -> bool:
    """Look for atoms that are not bonded and nearly are.

    Parameters
    ----------
    numbers : (n_atoms,)
    positions : (n_atoms, 3) angstrom
    pairs : sequence of (int, int)
        All bonds.
    """
    radii = covalent_radii[numbers]
    far = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    reduced = far / (radii[:, None] + radii[None])
    np.fill_diagonal(reduced, np.inf)
    for i, j in pairs:
        reduced[i, j] = reduced[j, i] = np.inf
    return bool(reduced.min(initial=np.inf) < CROWDED)
