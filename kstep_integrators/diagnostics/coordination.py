"""Coordination numbers of a liquid or solid: counted within a distance, or integrated from g(r)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.pair_distances import group_masks, pairs_within
from kstep_integrators.diagnostics.structure import RadialDistribution

__all__ = ["Coordination", "coordination_numbers", "running_coordination"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coordination:
    """Numbers of neighbours within a distance.

    Attributes
    ----------
    numbers : (F, M)
        Neighbours of each of the M atoms of the first group in each frame.

    Examples
    --------
    >>> import numpy as np
    >>> found = Coordination(np.array([[4.0, 4.0], [4.0, 3.0]]))
    >>> found.mean, found.probability(4)
    (3.75, 0.75)
    """

    numbers: Array

    @property
    def mean(self) -> float:
        """Average over atoms and frames."""
        return float(self.numbers.mean())

    @property
    def series(self) -> Array:
        """Average over the atoms of each frame, (F,): what :func:`block_error` takes, as (1, F)."""
        return np.asarray(self.numbers.mean(axis=1))

    def probability(self, count: int) -> float:
        """Part of the atoms that have so many neighbours."""
        return float(np.mean(self.numbers == count))


def coordination_numbers(
    positions: ArrayLike,
    cell: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    cutoff: float,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> Coordination:
    """Neighbours in a second group, periodic images included, of each atom of a first.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom; wrapped into the cell or not.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    first, second : array_like of int
        Indices of the atoms of the groups, which may be the same; an atom and itself are no pair,
        an atom and its own image are.
    cutoff : float
        Angstrom; usually the first minimum of the radial distribution.
    pbc : (bool, bool, bool)
        Any: slabs, wires and molecules have neighbours too.

    Raises
    ------
    ValueError
        If shapes do not fit, a group is empty, or the cutoff is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> copper = bulk("Cu", cubic=True, a=3.6)
    >>> coordination_numbers(copper.positions, copper.cell[:], range(4), range(4), 3.0).mean
    12.0
    """
    mine, other = group_masks(positions, first, second)
    counts = [
        np.bincount(i[other[j]], minlength=len(mine))[mine]
        for _, i, j, _ in pairs_within(positions, cell, cutoff, pbc)
    ]
    return Coordination(np.asarray(counts, dtype=np.float64))


def running_coordination(distribution: RadialDistribution, number_density: float) -> Array:
    r"""Running coordination number :math:`n(r) = 4 \pi \rho \int_0^r g(s) s^2 ds`.

    Parameters
    ----------
    distribution : RadialDistribution
        From 0, at equal distances.
    number_density : float
        Of the second group, 1/angstrom^3: its atoms over the volume of the cell, without the one
        in the middle if both groups are the same.

    Returns
    -------
    numpy.ndarray
        Shape (K,): neighbours up to the outer edge of each bin, exact for its counts.

    Raises
    ------
    ValueError
        If the density is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from kstep_integrators.diagnostics import radial_distribution
    >>> copper, atoms = bulk("Cu", cubic=True, a=3.6), range(4)
    >>> found = radial_distribution(copper.positions, copper.cell[:], atoms, atoms, 3.0, 30)
    >>> round(running_coordination(found, 3 / copper.cell.volume)[-1].item(), 6)
    12.0
    """
    if not number_density > 0.0:
        raise ValueError(
            f"number_density is {number_density}, expected a positive number of atoms in a cubic "
            "angstrom"
        )
    centres = distribution.distances
    edges = np.concatenate([[0.0], centres + centres[0]])
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    return np.asarray(np.cumsum(number_density * distribution.density * shells))
