"""Thirteen Lennard-Jones atoms in a harmonic container, and their Monte Carlo reference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.testing.block_averages import Expected, Histogram, Moments
from kstep_integrators.testing.monte_carlo import droplet_monte_carlo
from kstep_integrators.testing.sampling import Averages, compare
from kstep_integrators.testing.surfaces import ARGON, droplet
from kstep_integrators.testing.system import Proposal, System, kinetic_law, normal

__all__ = [
    "droplet_system",
    "equilibrated",
    "expected_from",
    "reference",
]

Array = NDArray[np.float64]
REFERENCED = ("energy", "radius", "distance")
"""Observables of the droplet that no formula gives."""


def icosahedron(edge: float) -> Array:
    """A centre and twelve vertices at the distance ``edge`` from it, (13, 3)."""
    golden = 0.5 * (1.0 + math.sqrt(5.0))
    corners = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    points = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)])
    return np.concatenate([np.zeros((1, 3)), edge * points / np.linalg.norm(points[0])])


CONTAINER = 1e-3
"""eV/angstrom^2"""


def droplet_system() -> System:
    """Thirteen atoms of argon in a harmonic container, a liquid droplet: kT is half of epsilon.

    Exact are the virial, <x dV/dx> = 39 kT, and the centre of mass, which the container holds with
    13 times its force constant.

    Examples
    --------
    >>> system = droplet_system()
    >>> round(system.expected["virial"].moments.mean / system.kt, 9)
    39.0
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
        "centre": normal(variance, edges["centre"]),
    }
    edges["kinetic"], expected["kinetic"] = kinetic_law(13, kt)
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


def reference(count: int, equilibration: int, sweeps: int) -> dict[str, Any]:
    """Monte Carlo expectations of the droplet, and how well the run keeps what is exact.

    Parameters
    ----------
    count : int
        Replicas.
    equilibration, sweeps : int
        Sweeps before the averages, and in them; every fifth is averaged.

    Returns
    -------
    dict
        JSON: ``expected`` for :func:`expected_from`, ``exact`` (comparisons with the virial
        theorem and the law of the centre of mass), ``accepted``, ``replicas``, ``sweeps``.
    """
    system = droplet_system()
    averages = Averages(system.edges)

    def average(sweep: int, x: Array) -> None:
        if sweep >= equilibration and sweep % 5 == 0:
            averages.add(system.observe(torch.from_numpy(x)))

    accepted = _monte_carlo(system, count, equilibration + sweeps, 20, average)
    exact = {name: known for name, known in system.expected.items() if name != "kinetic"}
    measured = averages.expected()
    return {
        "replicas": count,
        "sweeps": sweeps,
        "accepted": accepted,
        "exact": compare(averages, exact).rows,
        "expected": {name: _written(measured[name]) for name in REFERENCED},
    }


def equilibrated(system: System, count: int, sweeps: int, seed: int) -> System:
    """Start the droplet from the last positions of a Monte Carlo run of its own.

    Parameters
    ----------
    system : System
        Made by :func:`droplet_system`.
    count, sweeps, seed : int
        Replicas, sweeps of the run, and seed of its noise.
    """
    last: list[Array] = []

    def keep(sweep: int, x: Array) -> None:
        last[:] = [x]

    _monte_carlo(system, count, sweeps, seed, keep)
    return dataclasses.replace(system, start=lambda count, rng: last[0])


def _monte_carlo(
    system: System, count: int, sweeps: int, seed: int, watch: Callable[[int, Array], None]
) -> float:
    epsilon, sigma, _ = ARGON
    start, rng = system.start(count, np.random.default_rng(0)), np.random.default_rng(seed)
    return droplet_monte_carlo(
        start, system.kt, epsilon, sigma, CONTAINER, sweeps, 0.35, rng, watch
    )


def _written(expected: Expected) -> dict[str, Any]:
    moments, histogram = expected.moments, expected.histogram
    row: dict[str, Any] = {"moments": dataclasses.asdict(moments) if moments else None}
    if histogram is not None and histogram.covariance is not None:
        row["fractions"] = histogram.fractions.tolist()
        row["covariance"] = histogram.covariance.tolist()
    return row


def expected_from(written: dict[str, Any]) -> dict[str, Expected]:
    """Expectations for :func:`~.sampling.compare`, from the JSON of :func:`reference`."""
    return {
        name: Expected(
            Moments(**row["moments"]),
            Histogram(np.array(row["fractions"]), np.array(row["covariance"])),
        )
        for name, row in written["expected"].items()
    }
