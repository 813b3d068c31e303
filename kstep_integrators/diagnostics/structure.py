"""Structure of a liquid or solid: radial distribution functions under periodic boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import ArrayLike, NDArray

__all__ = ["RadialDistribution", "radial_distribution"]

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
        Shape (3, 3), angstrom.
    first, second : array_like of int
        Indices of the atoms of the groups, which may be the same; an atom and itself are no pair.
    limit : float
        Largest distance, angstrom.
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
    x = np.asarray(positions, dtype=np.float64)
    box = np.asarray(cell, dtype=np.float64)
    groups = [np.unique(np.asarray(group, dtype=np.int64)) for group in (first, second)]
    if not all(pbc) or box.shape != (3, 3) or not abs(np.linalg.det(box)) > 0.0:
        raise ValueError(
            f"pbc is {tuple(pbc)} and the cell {box.tolist()}; a radial distribution needs a cell "
            "that is periodic in all directions. Of a molecule, compare the lengths of pairs"
        )
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3 or x.shape[2] != 3 or not all(len(group) for group in groups):
        raise ValueError(
            f"positions have shape {x.shape} and the groups {[len(g) for g in groups]} atoms; "
            "expected (F, N, 3) and at least one atom in each"
        )
    if not limit > 0.0 or bins < 1:
        raise ValueError(f"limit is {limit} and bins {bins}; both must be positive")
    inside = np.zeros((2, x.shape[1]), dtype=bool)
    for mask, group in zip(inside, groups, strict=True):
        mask[group] = True
    edges = np.linspace(0.0, limit, bins + 1)
    counts = np.zeros(bins)
    for frame in x:
        i, j, distance = primitive_neighbor_list("ijd", pbc, box, frame, limit)
        counts += np.histogram(distance[inside[0][i] & inside[1][j]], edges)[0]
    volume = abs(float(np.linalg.det(box)))
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    # Within one group an atom has one partner less.
    pairs = float(inside[0].sum() * inside[1].sum() - (inside[0] & inside[1]).sum())
    if pairs == 0.0:
        raise ValueError("both groups are the same single atom; there is no pair")
    return RadialDistribution(
        0.5 * (edges[1:] + edges[:-1]), counts * volume / (len(x) * pairs * shells)
    )
