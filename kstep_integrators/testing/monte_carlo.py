"""Metropolis Monte Carlo of a Lennard-Jones droplet, one atom at a time: a reference.

It shares no line with what it is the reference of: no forces, no momenta, no jumps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["droplet_monte_carlo"]

Array = NDArray[np.float64]


def _energies(x: Array, others: Array, epsilon: float, sigma: float, container: float) -> Array:
    """Energy of one atom at (B, 3) beside others at (B, n - 1, 3)."""
    inverse = sigma**6 / np.square(x[:, None] - others).sum(2) ** 3
    pairs = 4.0 * epsilon * (inverse * (inverse - 1.0)).sum(1)
    total: Array = pairs + 0.5 * container * np.square(x).sum(1)
    return total


def droplet_monte_carlo(
    start: Array,
    kt: float,
    epsilon: float,
    sigma: float,
    container: float,
    sweeps: int,
    width: float,
    rng: np.random.Generator,
    watch: Callable[[int, Array], None],
) -> float:
    """Sample exp(-V / kT) of replicas.

    Parameters
    ----------
    start : (B, n, 3)
        angstrom.
    kt, epsilon, sigma, container : float
        eV, eV, angstrom, eV/angstrom^2.
    sweeps : int
        In each, every atom is displaced once, by normal deviates of ``width`` angstrom.
    rng : numpy.random.Generator
    watch : callable
        Is shown the number of every sweep and the positions after it.

    Returns
    -------
    float
        Fraction of displacements that were accepted.

    Examples
    --------
    >>> start, rng = np.zeros((1, 2, 3)), np.random.default_rng(0)
    >>> start[0, 1, 0] = 4.0
    >>> visited = []
    >>> accepted = droplet_monte_carlo(
    ...     start, 0.005, 0.0104, 3.4, 1e-3, 5, 0.3, rng, lambda sweep, x: visited.append(sweep)
    ... )
    >>> visited, 0.0 < accepted <= 1.0
    ([0, 1, 2, 3, 4], True)
    """
    x, taken = start.copy(), 0
    count, atoms = x.shape[:2]
    for sweep in range(sweeps):
        for atom in range(atoms):
            others = np.delete(x, atom, axis=1)
            trial = x[:, atom] + width * rng.standard_normal((count, 3))
            change = _energies(trial, others, epsilon, sigma, container)
            change = change - _energies(x[:, atom], others, epsilon, sigma, container)
            accepted = change <= rng.standard_exponential(count) * kt
            x[accepted, atom] = trial[accepted]
            taken += int(accepted.sum())
        watch(sweep, x)
    displacements: int = sweeps * atoms * count
    return taken / displacements
