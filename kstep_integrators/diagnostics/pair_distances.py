"""Distances of pairs of atoms with all periodic images, frame by frame, and groups of atoms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import ArrayLike, NDArray
from vesin import NeighborList

__all__ = ["group_masks", "pairs_within"]

Array = NDArray[np.float64]


def group_masks(
    positions: ArrayLike, first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (N,) of two groups of atoms.

    Raises
    ------
    ValueError
        If a group is empty, or the positions are none.
    """
    if np.ndim(positions) < 2:
        raise ValueError(f"positions have shape {np.shape(positions)}; expected (F, N, 3)")
    masks = np.zeros((2, np.shape(positions)[-2]), dtype=bool)
    groups = [np.asarray(group, dtype=np.int64) for group in (first, second)]
    for mask, group in zip(masks, groups, strict=True):
        mask[group] = True
    if not masks.any(axis=1).all():
        raise ValueError(
            f"the groups have {[len(group) for group in groups]} atoms; expected at least one atom "
            "in each"
        )
    return masks[0], masks[1]


def pairs_within(
    positions: ArrayLike,
    cell: ArrayLike,
    limit: float,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> Iterator[tuple[Array, NDArray[np.int64], NDArray[np.int64], Array]]:
    """Pairs of atoms within a distance, frame by frame, with all periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    limit : float
        Angstrom.
    pbc : (bool, bool, bool)

    Yields
    ------
    (3, 3), (P,), (P,), (P,) numpy.ndarray
        The cell of the frame; for each pair both atoms and the distance, from either end.

    Raises
    ------
    ValueError
        If shapes do not fit, or the limit is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("Cu", cubic=True, a=3.6)
    >>> [len(distance) for *_, distance in pairs_within(atoms.positions, atoms.cell[:], 3.0)]
    [48]
    """
    x = np.asarray(positions, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    boxes = np.asarray(cell, dtype=np.float64)
    if x.ndim != 3 or x.shape[2] != 3 or not x.size:
        raise ValueError(f"positions have shape {x.shape}; expected (F, N, 3)")
    if boxes.shape not in ((3, 3), (len(x), 3, 3)):
        raise ValueError(
            f"the cell has shape {boxes.shape}; expected (3, 3), or ({len(x)}, 3, 3) for the "
            f"{len(x)} frames"
        )
    if not limit > 0.0:
        raise ValueError(f"limit is {limit}; the largest distance must be positive")
    search = NeighborList(cutoff=limit, full_list=True, n_threads=1)
    for frame, box in zip(x, np.broadcast_to(boxes, (len(x), 3, 3)), strict=True):
        whole = complete_cell(np.where(np.array(pbc)[:, None], box, 0.0))
        # A list is made from fractions of the cell, and not from positions far outside of it.
        inside = frame - np.floor(frame @ np.linalg.inv(whole)) * np.array(pbc) @ whole
        first, second, distance = search.compute(inside, whole, np.array(pbc), "ijd")
        yield box, first.astype(np.int64), second.astype(np.int64), distance
