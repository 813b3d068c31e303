"""Langevin: each momentum is mixed with fresh noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import real_number
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import PhaseState
from kstep_integrators.thermostats.base import bath_kelvin, check_temperature
from kstep_integrators.thermostats.noise import Noise, normals_of_atoms

__all__ = ["Langevin"]


@dataclass(frozen=True)
class Langevin:
    r"""Ornstein-Uhlenbeck half-steps, exact for any stride (the O of OBABO).

    :math:`p \leftarrow c\,p + \sqrt{(1 - c^2)\,m k_B T}\,\xi,\; c = e^{-\gamma h/2}`.
    Bussi & Parrinello, doi:10.1103/PhysRevE.75.056707. It conserves neither total momentum nor
    angular momentum.

    Attributes
    ----------
    temperature_K : float
    friction : float
        Inverse ASE time units; ``0.01 / ase.units.fs`` is 10 per picosecond. Infinite: momenta are
        drawn anew.

    Raises
    ------
    TypeError, ValueError
        If one is no number, or out of its range.
    """

    temperature_K: float
    friction: float

    def __post_init__(self) -> None:
        check_temperature(self.temperature_K)
        real_number("friction", self.friction, "inverse ASE time units")
        if not self.friction >= 0:
            raise ValueError(
                f"friction is {self.friction}, expected a number >= 0 in inverse ASE time units, "
                "or numpy.inf for fresh momenta at every jump"
            )

    def check(self, state: PhaseState) -> None:
        """Every state will do."""

    def half_step(self, state: PhaseState, stride: float, rng: Noise) -> PhaseState:
        """Mix the momenta with fresh Maxwell-Boltzmann ones; draws three normals for each atom."""
        c = math.exp(-0.5 * self.friction * stride)
        kelvin = bath_kelvin(state, self.temperature_K)
        if isinstance(kelvin, Tensor):
            kelvin = kelvin[state.batch].unsqueeze(1)
        width = ((1.0 - c * c) * units.KB * kelvin * state.masses).sqrt()
        fresh = c * state.momenta + width * normals_of_atoms(rng, state)
        return state.replace(momenta=constrain(state, fresh))

    def describe(self) -> dict[str, Any]:
        """Name, temperature and friction."""
        return {
            "thermostat": "langevin",
            "temperature_K": self.temperature_K,
            "friction": self.friction,
        }
