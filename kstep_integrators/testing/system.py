"""A physics whose canonical ensemble is known, with bad potentials that propose jumps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState
from kstep_integrators.testing.block_averages import Expected, Histogram, Moments
from kstep_integrators.testing.surfaces import EnergyFunction

__all__ = ["Proposal", "System", "fractions", "gamma", "kinetic_law", "normal", "replicas"]

Array = NDArray[np.float64]
Observables = Callable[[Tensor], dict[str, Tensor]]
"""Positions (B, n, 3) -> values (B, m) of each observable, alike in distribution along m."""

Start = Callable[[int, np.random.Generator], Array]


@dataclass(frozen=True)
class Proposal:
    """A jump: a potential, a base step in ASE time units and how many of them."""

    potential: EnergyFunction
    timestep: float
    k: int


@dataclass(frozen=True)
class System:
    """A physics with what is known of its canonical ensemble.

    Attributes
    ----------
    physics : EnergyFunction
    start : callable
        Draws positions (count, n, 3) angstrom for replicas to start from, in equilibrium where
        that is known by a formula.
    masses : (n,)
        u.
    moving : int
        How many atoms move; those behind them are fixed.
    temperature_K : float
    friction : float
        Inverse ASE time units.
    observe : Observables
    edges : dict
        Inner edges of the bins of each observable that has a histogram.
    expected : dict
        What is known of each observable.
    proposals : dict
        By corrector.
    """

    physics: EnergyFunction
    start: Start
    masses: Array
    moving: int
    temperature_K: float
    friction: float
    observe: Observables
    edges: dict[str, Array]
    expected: dict[str, Expected]
    proposals: dict[str, Proposal]

    @property
    def kt(self) -> float:
        """Thermal energy, eV."""
        return units.KB * self.temperature_K


def replicas(system: System, count: int, rng: np.random.Generator) -> PhaseState:
    """Replicas of a system at its start, with thermal momenta.

    Examples
    --------
    >>> from kstep_integrators.testing.known_ensembles import SYSTEMS
    >>> state = replicas(SYSTEMS["harmonic"](), 5, np.random.default_rng(0))
    >>> state.n_molecules, state.positions.shape
    (5, torch.Size([20, 3]))
    """
    n = len(system.masses)
    free = np.arange(n) < system.moving
    shape = (count, n, 3)
    x = system.start(count, rng)
    p = np.sqrt(system.kt * system.masses * free)[:, None] * rng.standard_normal(shape)
    return make_state(
        torch.ones(count * n, dtype=torch.int64),
        torch.from_numpy(np.tile(system.masses, count)),
        torch.from_numpy(x.reshape(-1, 3)),
        torch.from_numpy(p.reshape(-1, 3)),
        batch=torch.arange(count).repeat_interleave(n),
        mobile=None if free.all() else torch.from_numpy(np.tile(free, count)),
    )


def normal(variance: float, edges: Array) -> Expected:
    """Expectations of a normal law about 0."""
    law = stats.norm(scale=math.sqrt(variance))
    return Expected(Moments(0.0, 0.0, variance), fractions(law.cdf, edges))


def gamma(shape: float, kt: float, edges: Array) -> Expected:
    """Expectations of an energy of 2 ``shape`` quadratic degrees of freedom."""
    law = stats.gamma(shape, scale=kt)
    return Expected(Moments(shape * kt, 0.0, shape * kt**2), fractions(law.cdf, edges))


def fractions(cdf: Callable[[Array], Array], edges: Array) -> Histogram:
    """Exact fractions in bins, from a cumulative distribution."""
    return Histogram(np.diff(np.concatenate([[0.0], cdf(edges), [1.0]])))


def kinetic_law(atoms: int, kt: float) -> tuple[Array, Expected]:
    """Edges of ten bins of equal weight, and expectations of the kinetic energy."""
    law = stats.gamma(1.5 * atoms, scale=kt)
    edges = law.ppf(np.linspace(0.0, 1.0, 11)[1:-1])
    return edges, gamma(1.5 * atoms, kt, edges)
