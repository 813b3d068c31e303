"""Checks of the values of a run's options, each by itself, before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from kstep_integrators.arguments import check_device, positive_integer, whole_number
from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.mechanics.scaled_bodies import SCALES
from kstep_integrators.step.barostat import COUPLINGS

__all__ = ["check_option_values", "kelvin_of"]

_NUMBERS = ("timestep", "friction", "taut", "pressure", "energy_tolerance", "force_tolerance")


def check_option_values(given: Mapping[str, Any]) -> None:
    """Refuse values that no option has, whatever the others are.

    Parameters
    ----------
    given : mapping of str to object
        All fields of :class:`~kstep_integrators.step.options.RunOptions`.

    Raises
    ------
    ValueError, TypeError
        The message says what was given and what is expected.
    """
    for name in _NUMBERS:
        value = given[name]
        if value is not None and not _is_number(value):
            raise TypeError(f"{name} is {value!r}, expected a number or None")
    if not isinstance(given["metropolize"], bool):
        raise TypeError(f"metropolize is {given['metropolize']!r}, expected True or False")
    chances = given["extra_chances"]
    if not _is_number(chances) or chances != int(chances) or chances < 0:
        raise ValueError(f"extra_chances is {chances!r}, expected an integer >= 0")
    corrector = given["corrector"]
    if isinstance(corrector, str) and corrector not in CORRECTORS:
        raise ValueError(f"unknown corrector {corrector!r}; choose one of {sorted(CORRECTORS)}")
    if given["verify_interval"] is not None:
        meaning = "strides between two checks of estimated energies, 0 for none"
        whole_number("verify_interval", given["verify_interval"], meaning)
    _check_barostat(given)
    check_device(given["device"])
    for name, method, kind in (
        ("corrector", "describe", "a name such as 'impulse', or a corrector"),
        ("guard", "check_jump", "a Guard"),
    ):
        value = given[name]
        named = name == "corrector" and isinstance(value, str)
        if value is not None and not named and not hasattr(value, method):
            raise TypeError(f"{name} is {value!r}, expected {kind}")


def kelvin_of(value: Any) -> float | tuple[float, ...] | None:
    """Temperatures as plain numbers: one, or one for each molecule.

    Raises
    ------
    TypeError
        If they are none of these.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or _is_number(value):
        number: float | None = value
        return number
    if isinstance(value, list | tuple) and value and all(_is_number(one) for one in value):
        return tuple(float(one) for one in value)
    raise TypeError(
        f"temperature_K is {value!r}, expected a number of kelvin, or one number for each molecule"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_barostat(given: Mapping[str, Any]) -> None:
    """Refuse values that no barostat has."""
    pressure, interval = given["pressure"], given["barostat_interval"]
    if pressure is not None and not math.isfinite(pressure):
        raise ValueError(
            f"pressure is {pressure}, expected a finite number of eV/angstrom^3, such as "
            "1 * ase.units.bar"
        )
    for name, known in (("barostat", tuple(COUPLINGS)), ("barostat_scales", SCALES)):
        value = given[name]
        if value is not None and value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {list(known)} or None")
    if interval is not None:
        positive_integer("barostat_interval", interval, "strides between two moves of the volume")
