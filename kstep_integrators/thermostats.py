"""O: what couples the momenta to a heat bath, half before and half after the rest of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from kstep_integrators import units
from kstep_integrators.state import PhaseState, constrain

__all__ = ["Langevin", "NoThermostat", "Thermostat", "make_thermostat"]


class Thermostat(Protocol):
    """A half-step on the momenta."""

    def half_step(self, state: PhaseState, stride: float, rng: np.random.Generator) -> PhaseState:
        """Advance the bath by half a stride (ASE time units)."""
        ...


class NoThermostat:
    """Constant energy."""

    def half_step(self, state: PhaseState, stride: float, rng: np.random.Generator) -> PhaseState:
        """The state as it is; no random number is drawn."""
        return state


@dataclass(frozen=True)
class Langevin:
    r"""Ornstein-Uhlenbeck half-steps, exact for any stride (the O of OBABO).

    :math:`p \leftarrow c\,p + \sqrt{(1 - c^2)\,m k_B T}\,\xi,\; c = e^{-\gamma h/2}`.
    Bussi & Parrinello, doi:10.1103/PhysRevE.75.056707.

    Attributes
    ----------
    temperature_K : float
    friction : float
        Inverse ASE time units; ``0.01 / ase.units.fs`` is 10 per picosecond. Infinite: momenta are
        drawn anew.
    """

    temperature_K: float
    friction: float

    def half_step(self, state: PhaseState, stride: float, rng: np.random.Generator) -> PhaseState:
        """Mix the momenta with fresh Maxwell-Boltzmann ones."""
        c = math.exp(-0.5 * self.friction * stride)
        noise = torch.from_numpy(rng.standard_normal(tuple(state.momenta.shape)))
        width = ((1.0 - c * c) * units.KB * self.temperature_K * state.masses).sqrt()
        fresh = c * state.momenta + width * noise.to(state.momenta.device)
        return state.replace(momenta=constrain(state, fresh))


def make_thermostat(
    name: str | None, temperature_K: float | None, friction: float | None
) -> Thermostat:
    """The thermostat that a run's arguments ask for.

    Parameters
    ----------
    name : str or None
        ``"langevin"``, or None: Langevin if a friction is given, constant energy otherwise.
    temperature_K : float or None
    friction : float or None
        Inverse ASE time units.

    Raises
    ------
    ValueError
        If the name is unknown, or temperature and friction do not go together.
    """
    if name not in (None, "langevin"):
        raise ValueError(f"unknown thermostat {name!r}; choose 'langevin' or None")
    if name is None and temperature_K is None and friction is None:
        return NoThermostat()
    if temperature_K is None:
        raise ValueError(
            f"thermostat {name or 'langevin'!r} with friction={friction} needs a temperature: pass "
            "temperature_K as well, or leave friction out for constant energy"
        )
    if friction is None:
        raise ValueError(
            f"temperature_K={temperature_K} is used by a thermostat only: pass friction as well "
            "(such as 0.01 / ase.units.fs), or leave temperature_K out for constant energy"
        )
    if not (math.isfinite(temperature_K) and temperature_K >= 0):
        raise ValueError(f"temperature_K is {temperature_K}, expected a finite number >= 0")
    if not friction >= 0:
        raise ValueError(
            f"friction is {friction}, expected a number >= 0 in inverse ASE time units, or "
            "numpy.inf for fresh momenta at every jump"
        )
    return Langevin(float(temperature_K), float(friction))
