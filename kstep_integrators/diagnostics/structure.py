"""Structure of a liquid or solid: radial distribution functions under periodic boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import ArrayLike, NDArray

__all__ = ["RadialDistribution", "pairs_within", "radial_distribution"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RadialDistribution:
    """Radial distribution function: pair density over that of an ideal gas.

    Attributes
    ----------
    distances : (K,)
        Centres of the bins, angstrom.
    density : (K,)
        g(r): 1 where nothing is correlated.

    Examples
    --------
    >>> import numpy as np
    >>> gas = np.random.default_rng(0).uniform(0.0, 10.0, (40, 3))
    >>> cell, everything = 10.0 * np.eye(3), np.arange(40)
    >>> result = radial_distribution(gas, cell, everything, everything, limit=5.0, bins=5)
    >>> result.distances.tolist()
    [0.5, 1.5, 2.5, 3.5, 4.5]
    """

    distances: Array
    density: Array


def radial_distribution(
    positions: ArrayLike,
    cell: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    limit: float,
    bins: int = 100,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> RadialDistribution:
    r"""Radial distribution function between two groups of atoms.

    :math:`g(r) = V \langle n(r) \rangle / (N_1 N_2 \, 4 \pi r^2 \Delta r)`, with all periodic
    images within the limit, in cells of any shape (neighbours by ASE).

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    first, second : array_like of int
        Indices of the atoms of the groups, which may be the same; an atom and itself are no pair.
    limit : float
        Largest distance, angstrom. Half the smallest height of the cell is the usual one: beyond,
        images of the same atoms are counted again, and correlations are those of the crystal that
        the cell makes.
    bins : int
    pbc : (bool, bool, bool)
        Must be all true: otherwise there is no density to compare with.

    Raises
    ------
    ValueError
        If the system is not periodic in all directions, a group is empty, shapes do not fit, or
        the limit or the number of bins is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> gas = np.random.default_rng(0).uniform(0.0, 10.0, (40, 3))
    >>> cell, everything = 10.0 * np.eye(3), np.arange(40)
    >>> result = radial_distribution(gas, cell, everything, everything, limit=5.0, bins=1)
    >>> round(result.density.item(), 1)  # nothing is correlated
    1.0
    """
    boxes = np.asarray(cell, dtype=np.float64)
    if not all(pbc) or boxes.shape[-2:] != (3, 3) or not (np.abs(np.linalg.det(boxes)) > 0.0).all():
        raise ValueError(
            f"pbc is {tuple(pbc)} and the cell {boxes.tolist()}; a radial distribution needs a "
            "cell that is periodic in all directions. Of a molecule, compare the lengths of pairs"
        )
    if bins < 1:
        raise ValueError(f"bins is {bins}; the number of bins must be positive")
    one, other = (np.unique(np.asarray(group, dtype=np.int64)) for group in (first, second))
    # Within one group an atom has one partner less.
    pairs = float(len(one) * len(other) - len(np.intersect1d(one, other)))
    if pairs == 0.0 and len(one):
        raise ValueError("both groups are the same single atom; there is no pair")
    edges = np.linspace(0.0, limit, bins + 1)
    volumes = np.abs(np.linalg.det(boxes))
    frames, total = 0, np.zeros(bins)
    for _, _, distance in pairs_within(positions, boxes, one, other, limit, pbc):
        volume = float(volumes if volumes.ndim == 0 else volumes[frames])
        total += volume * np.histogram(distance, edges)[0]
        frames += 1
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    return RadialDistribution(0.5 * (edges[1:] + edges[:-1]), total / (frames * pairs * shells))


def pairs_within(
    positions: ArrayLike,
    cell: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    limit: float,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64], Array]]:
    """Pairs of two groups within a distance, frame by frame, with all periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    first, second : array_like of int
        Indices of the atoms of the groups.
    limit : float
        Angstrom.
    pbc : (bool, bool, bool)

    Yields
    ------
    (N,), (P,), (P,) numpy.ndarray
        The atoms of the first group; for each pair its atom of that group, and the distance. Each
        pair within both groups comes from either end.

    Raises
    ------
    ValueError
        If shapes do not fit, a group is empty, or the limit is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("Cu", cubic=True, a=3.6)
    >>> [len(pairs) for _, pairs, _ in pairs_within(atoms.positions, atoms.cell, [0], range(4), 3)]
    [12]
    """
    x = np.asarray(positions, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    boxes = np.asarray(cell, dtype=np.float64)
    groups = [np.unique(np.asarray(group, dtype=np.int64)) for group in (first, second)]
    if x.ndim != 3 or x.shape[2] != 3 or not len(x) or not all(len(group) for group in groups):
        raise ValueError(
            f"positions have shape {x.shape} and the groups {[len(g) for g in groups]} atoms; "
            "expected (F, N, 3) and at least one atom in each"
        )
    if boxes.shape not in ((3, 3), (len(x), 3, 3)):
        raise ValueError(
            f"the cell has shape {boxes.shape}; expected (3, 3), or ({len(x)}, 3, 3) for the "
            f"{len(x)} frames"
        )
    if not limit > 0.0:
        raise ValueError(f"limit is {limit}; the largest distance must be positive")
    inside = np.zeros((2, x.shape[1]), dtype=bool)
    for mask, group in zip(inside, groups, strict=True):
        mask[group] = True
    for number, frame in enumerate(x):
        box = boxes if boxes.ndim == 2 else boxes[number]
        i, j, distance = primitive_neighbor_list("ijd", pbc, box, frame, limit)
        kept = inside[0][i] & inside[1][j]
        yield inside[0], i[kept], distance[kept]
