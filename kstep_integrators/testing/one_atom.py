"""One atom in a field: quartic, double well and harmonic, by quadrature and by formulae.

Lengths are angstrom, the mass is 1 u and kT is that of 300 K.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from kstep_integrators.testing.block_averages import Expected, Moments
from kstep_integrators.testing.surfaces import (
    KT,
    double_well,
    harmonic,
    one_atom,
    polynomial,
    quartic,
)
from kstep_integrators.testing.system import (
    Observables,
    Proposal,
    Start,
    System,
    fractions,
    gamma,
    kinetic_law,
    normal,
)

__all__ = ["double_well_system", "harmonic_system", "quartic_system"]

Array = NDArray[np.float64]
FRAME = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]])


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
    edges["kinetic"], expected["kinetic"] = kinetic_law(1, KT)

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
            "x": Expected(Moments(0.0, 0.0, squares), fractions(lambda _: below, edges)),
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


def quartic_system() -> System:
    """The field x^2 / 2 + x^4, in kT, along each coordinate.

    Examples
    --------
    >>> sorted(quartic_system().proposals)
    ['filtered', 'impulse', 'none']
    """
    wrong = polynomial(2.5, 0.7)
    return _one_dimension(
        quartic,
        {
            "none": _scaled(wrong, 0.1, 6),
            "impulse": _scaled(wrong, 0.1, 6),
            "filtered": _scaled(wrong, 0.1, 6),
        },
    )


def double_well_system() -> System:
    """A barrier of 1.5 kT between wells at -1 and 1 along each coordinate."""
    wrong = polynomial(-1.5, 1.2)
    return _one_dimension(
        double_well,
        {
            "none": _scaled(wrong, 0.1, 6),
            "impulse": _scaled(wrong, 0.1, 8),
            "filtered": _scaled(wrong, 0.1, 6),
        },
    )


def harmonic_system() -> System:
    """Coupled oscillators with force constants 1 : 4 : 12, in directions of no coordinate."""
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
        name: normal(1.0 / float(k), edges[name]) for name, k in zip(names, stiffness, strict=True)
    }
    expected["energy"] = gamma(1.5, KT, edges["energy"])
    c = covariance.numpy()
    expected["x*y"] = Expected(Moments(c[0, 1], 0.0, c[0, 0] * c[1, 1] + c[0, 1] ** 2))
    law = harmonic(matrix)

    def observe(position: Tensor) -> dict[str, Tensor]:
        along = position @ modes
        values = {name: along[:, i : i + 1] for i, name in enumerate(names)}
        values["energy"] = law(position)[:, None]
        values["x*y"] = position[:, :1] * position[:, 1:2]
        return values

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
