"""The protocol of a thermostat, and constant energy."""

from __future__ import annotations

import math
from typing import Any, Protocol

from torch import Tensor

from kstep_integrators.arguments import real_number
from kstep_integrators.state import PhaseState
from kstep_integrators.thermostats.noise import Noise

__all__ = ["NoThermostat", "Thermostat", "bath_kelvin", "check_temperature"]


def bath_kelvin(state: PhaseState, temperature_K: float) -> float | Tensor:
    """Temperature of the baths of a state: a number for all molecules, or (B,) of each."""
    return temperature_K if state.bath_kelvin is None else state.bath_kelvin


def check_temperature(temperature_K: float) -> None:
    """Refuse what is no temperature.

    Raises
    ------
    TypeError, ValueError
        If it is no number, not finite or below 0.
    """
    real_number("temperature_K", temperature_K, "kelvin")
    if not (math.isfinite(temperature_K) and temperature_K >= 0):
        raise ValueError(f"temperature_K is {temperature_K}, expected a finite number >= 0")


class Thermostat(Protocol):
    """A half-step on the momenta: a state in, a state out, noise from the caller's generators.

    The heat it puts in is the change of the kinetic energy.
    """

    def check(self, state: PhaseState) -> None:
        """Refuse a state that the thermostat cannot act on.

        Raises
        ------
        ValueError
            The message says why, and what to do.
        """
        ...

    def half_step(self, state: PhaseState, stride: float, rng: Noise) -> PhaseState:
        """Advance the bath by half a stride (ASE time units)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Name and parameters, for logs and trajectory files."""
        ...


class NoThermostat:
    """Constant energy."""

    def check(self, state: PhaseState) -> None:
        """Every state will do."""

    def half_step(self, state: PhaseState, stride: float, rng: Noise) -> PhaseState:
        """The state as it is; no random number is drawn."""
        return state

    def describe(self) -> dict[str, Any]:
        """No thermostat."""
        return {"thermostat": None}
