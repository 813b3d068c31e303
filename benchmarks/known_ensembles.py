"""Systems whose canonical ensemble is known, each with bad potentials to propose jumps with.

Lengths of the small ones are angstrom, their mass is 1 u and kT is that of 300 K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from benchmarks.blocks import Expected, Histogram, Moments
from benchmarks.surfaces import (
    ARGON,
    KT,
    EnergyFunction,
    double_well,
    droplet,
    harmonic,
    one_atom,
    polynomial,
    quartic,
)
from kstep_integrators import units
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState

__all__ = ["CONTAINER", "SYSTEMS", "Proposal", "System", "replicas"]

Array = NDArray[np.float64]
Observables = Callable[[Tensor], dict[str, Tensor]]
"""Positions (B, n, 3) -> values (B, m) of each observable, alike in distribution along m."""

Start = Callable[[int, np.random.Generator], Array]

FRAME = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]])


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
        """KT, eV."""
        return units.KB * self.temperature_K


def replicas(system: System, count: int, rng: np.random.Generator) -> PhaseState:
    """Replicas at the start, with thermal momenta."""
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


def _normal(variance: float, edges: Array) -> Expected:
    law = stats.norm(scale=math.sqrt(variance))
    return Expected(Moments(0.0, 0.0, variance), _fractions(law.cdf, edges))


def _gamma(shape: float, kt: float, edges: Array) -> Expected:
    law = stats.gamma(shape, scale=kt)
    return Expected(Moments(shape * kt, 0.0, shape * kt**2), _fractions(law.cdf, edges))


def _fractions(cdf: Callable[[Array], Array], edges: Array) -> Histogram:
    return Histogram(np.diff(np.concatenate([[0.0], cdf(edges), [1.0]])))


def _kinetic(atoms: int, kt: float) -> tuple[Array, Expected]:
    law = stats.gamma(1.5 * atoms, scale=kt)
    edges = law.ppf(np.linspace(0.0, 1.0, 11)[1:-1])
    return edges, _gamma(1.5 * atoms, kt, edges)


def _small(
    physics: Callable[[Tensor], Tensor],
    draw: Start,
    observe: Observables,
    edges: dict[str, Array],
    expected: dict[str, Expected],
    proposals: dict[str, Proposal],
) -> System:
    """One atom in a field.

    A frame of three fixed atoms says where the field is: without it, the filtered corrector takes
    the motion of a single atom for a translation, and does nothing.
    """
    edges["kinetic"], expected["kinetic"] = _kinetic(1, KT)

    def start(count: int, rng: np.random.Generator) -> Array:
        frame = np.broadcast_to(FRAME, (count, 3, 3))
        return np.concatenate([draw(count, rng)[:, None], frame], axis=1)

    return System(
        physics=one_atom(physics),
        start=start,
        masses=np.ones(4),
        moving=1,
        temperature_K=300.0,
        friction=0.3 * math.sqrt(KT),
        observe=lambda x: observe(x[:, 0]),
        edges=edges,
        expected=expected,
        proposals=proposals,
    )


def _one_dimension(v: Callable[[Tensor], Tensor], proposals: dict[str, Proposal]) -> System:
    """A field that is a sum over coordinates, by quadrature."""
    x = torch.linspace(-5.0, 5.0, 50001, dtype=torch.float64)[:, None]
    energy = v(x)
    weight = torch.exp(-energy / KT)
    weight = weight / weight.sum()

    def mean(values: Tensor) -> float:
        return float((values * weight).sum())

    # Ten bins of equal weight: in rare ones, few blocks have anything to say of errors.
    below = np.linspace(0.0, 1.0, 11)[1:-1]
    cdf, grid = (weight.cumsum(0) - 0.5 * weight).numpy(), x[:, 0].numpy()
    edges = np.interp(below, cdf, grid)

    def observe(position: Tensor) -> dict[str, Tensor]:
        each = v(position.reshape(-1, 1)).reshape(position.shape)
        return {"x": position, "energy": each}

    average, squares = mean(energy), mean(x[:, 0] ** 2)
    return _small(
        v,
        lambda count, rng: np.interp(rng.random((count, 3)), cdf, grid),
        observe,
        {"x": edges},
        {
            "x": Expected(Moments(0.0, 0.0, squares), _fractions(lambda _: below, edges)),
            "energy": Expected(Moments(average, 0.0, mean((energy - average) ** 2))),
        },
        proposals,
    )


def _scaled(potential: Callable[[Tensor], Tensor], timestep: float, k: int) -> Proposal:
    """A base step in units of the time in which a thermal particle goes one length.

    The potentials here are not much softer than the physics far out, or exp(-dH/kT) would have no
    finite variance; nor much stiffer anywhere, or replicas would stay there for long.
    """
    return Proposal(one_atom(potential), timestep / math.sqrt(KT), k)


def _quartic() -> System:
    wrong = polynomial(2.5, 0.7)
    return _one_dimension(
        quartic,
        {
            "none": _scaled(wrong, 0.1, 6),
            "impulse": _scaled(wrong, 0.1, 6),
            "filtered": _scaled(wrong, 0.1, 6),
        },
    )


def _double_well() -> System:
    wrong = polynomial(-1.5, 1.2)
    return _one_dimension(
        double_well,
        {
            "none": _scaled(wrong, 0.1, 6),
            "impulse": _scaled(wrong, 0.1, 8),
            "filtered": _scaled(wrong, 0.1, 6),
        },
    )


def _harmonic() -> System:
    stiffness = torch.tensor([1.0, 4.0, 12.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    draw = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    modes, _ = torch.linalg.qr(draw)
    matrix = modes @ torch.diag(stiffness) @ modes.T
    covariance = torch.linalg.inv(matrix)
    tilt = torch.tensor([[0.8, 0.3, 0.0], [0.0, 0.9, -0.3], [0.0, 0.0, 0.7]]).double()
    bad = tilt @ matrix @ tilt.T
    names = ("slow", "middle", "stiff")
    edges = {
        name: np.linspace(-2.0, 2.0, 11) / math.sqrt(float(k))
        for name, k in zip(names, stiffness, strict=True)
    }
    edges["energy"] = stats.gamma(1.5, scale=KT).ppf(np.linspace(0.0, 1.0, 13)[1:-1])
    expected = {
        name: _normal(1.0 / float(k), edges[name]) for name, k in zip(names, stiffness, strict=True)
    }
    expected["energy"] = _gamma(1.5, KT, edges["energy"])
    c = covariance.numpy()
    expected["x*y"] = Expected(Moments(c[0, 1], 0.0, c[0, 0] * c[1, 1] + c[0, 1] ** 2))
    law = harmonic(matrix)

    def observe(position: Tensor) -> dict[str, Tensor]:
        along = position @ modes
        found = {name: along[:, i : i + 1] for i, name in enumerate(names)}
        found["energy"] = law(position)[:, None]
        found["x*y"] = position[:, :1] * position[:, 1:2]
        return found

    return _small(
        law,
        lambda count, rng: rng.multivariate_normal(np.zeros(3), c, count),
        observe,
        edges,
        expected,
        {
            "none": _scaled(harmonic(bad), 0.1, 6),
            "impulse": _scaled(harmonic(bad), 0.1, 7),
            "filtered": _scaled(harmonic(bad), 0.1, 6),
        },
    )


def icosahedron(edge: float) -> Array:
    """A centre and twelve vertices at the distance ``edge`` from it, (13, 3)."""
    golden = 0.5 * (1.0 + math.sqrt(5.0))
    corners = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    points = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)])
    return np.concatenate([np.zeros((1, 3)), edge * points / np.linalg.norm(points[0])])


CONTAINER = 1e-3
"""eV/angstrom^2"""


def _lj13() -> System:
    """Thirteen atoms of argon in a harmonic container, a liquid droplet: kT is half of epsilon.

    Exact are the virial, <x dV/dx> = 39 kT, and the centre of mass, which the container holds with
    13 times its force constant.
    """
    epsilon, sigma, mass = ARGON
    temperature = 0.5 * epsilon / units.KB
    kt = 0.5 * epsilon
    i, j = torch.triu_indices(13, 13, 1)

    def observe(x: Tensor) -> dict[str, Tensor]:
        distances = (x[:, i] - x[:, j]).norm(dim=2)
        attraction = 4.0 * epsilon * (sigma / distances) ** 6
        repulsion = 4.0 * epsilon * (sigma / distances) ** 12
        squares = x.square().sum((1, 2))
        energy = (repulsion - attraction).sum(1) + 0.5 * CONTAINER * squares
        virial = (6.0 * attraction - 12.0 * repulsion).sum(1) + CONTAINER * squares
        return {
            "energy": energy[:, None],
            "virial": virial[:, None],
            "centre": x.mean(1),
            "radius": x.norm(dim=2),
            "distance": distances,
        }

    variance = kt / (13 * CONTAINER)
    edges = {
        "energy": epsilon * np.linspace(-23.0, -11.0, 9),
        "centre": math.sqrt(variance) * np.linspace(-2.0, 2.0, 9),
        "radius": np.linspace(1.5, 6.5, 11),
        "distance": np.array([3.3, 3.5, 3.7, 3.9, 4.2, 4.6, 5.2, 6.0, 7.0, 8.0]),
    }
    expected = {
        "virial": Expected(Moments(39.0 * kt)),
        "centre": _normal(variance, edges["centre"]),
    }
    edges["kinetic"], expected["kinetic"] = _kinetic(13, kt)
    wrong = droplet(0.8 * epsilon, 1.02 * sigma, 0.7 * CONTAINER)
    step = 15.0 * units.FS
    return System(
        physics=droplet(epsilon, sigma, CONTAINER),
        start=lambda count, rng: np.tile(icosahedron(1.1 * sigma), (count, 1, 1)),
        masses=np.full(13, mass),
        moving=13,
        temperature_K=temperature,
        friction=0.001 / units.FS,
        observe=observe,
        edges=edges,
        expected=expected,
        proposals={
            "none": Proposal(wrong, step, 10),
            "impulse": Proposal(wrong, step, 20),
            "filtered": Proposal(wrong, step, 18),
        },
    )


SYSTEMS: dict[str, Callable[[], System]] = {
    "quartic": _quartic,
    "double well": _double_well,
    "harmonic": _harmonic,
    "LJ13": _lj13,
}
"""By name."""
