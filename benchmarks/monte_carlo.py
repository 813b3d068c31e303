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
    """What one atom at (B, 3) has of the energy, beside others at (B, n - 1, 3)."""
    inverse = sigma**6 / np.square(x[:, None] - others).sum(2) ** 3
    pairs: Array = 4.0 * epsilon * (inverse * (inverse - 1.0)).sum(1)
    return pairs + 0.5 * container * np.square(x).sum(1)


def droplet_monte_carlo(
    start: Array,
    kt: float,
    epsilon: float,
    sigma: float,
    container: float,
    sweeps: int,
    width: float,
    rng: np.random.Generator,
    seen: Callable[[int, Array], None],
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
    seen : callable
        Is shown the number of every sweep and the positions after it.

    Returns
    -------
    float
        Fraction of displacements that were accepted.
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
        seen(sweep, x)
    return taken / (sweeps * atoms * count)
