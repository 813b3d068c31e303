"""Structure of a liquid or solid: radial distribution functions under periodic boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.pair_distances import group_masks, pairs_within

__all__ = ["RadialDistribution", "radial_distribution", "radial_distributions"]

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
    images within the limit, in cells of any shape (neighbours by vesin).

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
    boxes = _cells(cell, pbc)
    edges = _edges(limit, bins)
    masks = group_masks(positions, first, second)
    counts, frames = np.zeros(bins), 0
    for box, i, j, distance in pairs_within(positions, boxes, limit, pbc):
        kept = masks[0][i] & masks[1][j]
        counts += abs(np.linalg.det(box)) * np.histogram(distance[kept], edges)[0]
        frames += 1
    return _normalized(counts / frames, edges, masks[0], masks[1])


def radial_distributions(
    positions: ArrayLike,
    cell: ArrayLike,
    numbers: ArrayLike,
    limit: float,
    bins: int = 100,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> dict[str, RadialDistribution]:
    """Radial distribution functions of all pairs of elements, from one list of neighbours.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    numbers : array_like of int
        Shape (N,), atomic numbers.
    limit, bins, pbc
        As of :func:`radial_distribution`.

    Returns
    -------
    dict of str to RadialDistribution
        By names such as ``H-O``, in order of atomic number. A single atom of an element makes no
        pair.

    Raises
    ------
    ValueError
        As of :func:`radial_distribution`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    >>> found = radial_distributions(salt.positions, salt.cell[:], salt.numbers, 4.5, bins=45)
    >>> {pair: round(float(g.distances[g.density.argmax()]), 2) for pair, g in found.items()}
    {'Na-Na': 3.95, 'Na-Cl': 2.75, 'Cl-Cl': 3.95}
    """
    z = np.asarray(numbers, dtype=np.int64)
    boxes, edges = _cells(cell, pbc), _edges(limit, bins)
    elements, kind = np.unique(z, return_inverse=True)
    size, frames = len(elements), 0
    counts = np.zeros((size * size, bins))
    for box, i, j, distance in pairs_within(positions, boxes, limit, pbc):
        volume = abs(np.linalg.det(box))
        pair = kind[i] * size + kind[j]
        for number in range(size * size):
            counts[number] += volume * np.histogram(distance[pair == number], edges)[0]
        frames += 1
    found = {}
    for a in range(size):
        for b in range(a, size):
            if a == b and np.count_nonzero(kind == a) < 2:
                continue
            name = f"{chemical_symbols[elements[a]]}-{chemical_symbols[elements[b]]}"
            mine = counts[a * size + b] / frames
            found[name] = _normalized(mine, edges, kind == a, kind == b)
    return found


def _cells(cell: ArrayLike, pbc: tuple[bool, bool, bool]) -> Array:
    boxes = np.asarray(cell, dtype=np.float64)
    if not all(pbc) or boxes.shape[-2:] != (3, 3) or not (np.abs(np.linalg.det(boxes)) > 0.0).all():
        raise ValueError(
            f"pbc is {tuple(pbc)} and the cell {boxes.tolist()}; a radial distribution needs a "
            "cell that is periodic in all directions. Of a molecule, compare the lengths of pairs"
        )
    return boxes


def _edges(limit: float, bins: int) -> Array:
    if bins < 1:
        raise ValueError(f"bins is {bins}; the number of bins must be positive")
    return np.linspace(0.0, limit, bins + 1)


def _normalized(
    counts: Array, edges: Array, first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> RadialDistribution:
    """The distribution of counts that are times the volume, averaged over frames."""
    # Within one group an atom has one partner less.
    pairs = float(first.sum() * second.sum() - (first & second).sum())
    if pairs == 0.0:
        raise ValueError("both groups are the same single atom; there is no pair")
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    return RadialDistribution(0.5 * (edges[1:] + edges[:-1]), counts / (pairs * shells))
