"""The thermostat that the arguments of a run ask for."""

from __future__ import annotations

from kstep_integrators.thermostats.base import NoThermostat, Thermostat
from kstep_integrators.thermostats.bussi import Bussi
from kstep_integrators.thermostats.langevin import Langevin

__all__ = ["make_thermostat"]

THERMOSTATS: dict[str, str] = {"langevin": "friction", "bussi": "taut"}
"""Thermostats by name, each with the argument that says how tightly it couples."""


def make_thermostat(
    name: str | None,
    temperature_K: float | None,
    friction: float | None,
    taut: float | None = None,
) -> Thermostat:
    """The thermostat that a run's arguments ask for.

    Parameters
    ----------
    name : str or None
        ``"langevin"``, ``"bussi"``, or None: Langevin if a friction is given, constant energy
        otherwise.
    temperature_K : float or None
    friction : float or None
        Of Langevin, inverse ASE time units.
    taut : float or None
        Relaxation time of Bussi, ASE time units.

    Raises
    ------
    ValueError
        If the name is unknown, arguments do not go together, or a number is out of range.
    """
    if name is not None and name not in THERMOSTATS:
        raise ValueError(
            f"unknown thermostat {name!r}; choose one of {sorted(THERMOSTATS)} or None"
        )
    given = {"friction": friction, "taut": taut}
    if name is None and taut is not None:
        raise ValueError(f"taut={taut} belongs to the bussi thermostat: pass thermostat='bussi'")
    if name is None and temperature_K is None and friction is None:
        return NoThermostat()
    name = name or "langevin"
    coupling = THERMOSTATS[name]
    for other, value in given.items():
        if other != coupling and value is not None:
            raise ValueError(
                f"the {name} thermostat takes {coupling} and not {other}, but {other}={value} was "
                "given"
            )
    if temperature_K is None:
        raise ValueError(
            f"thermostat {name!r} with {coupling}={given[coupling]} needs a temperature: pass "
            f"temperature_K as well, or leave {coupling} and thermostat out for constant energy"
        )
    strength = given[coupling]
    if strength is None:
        example = "0.01 / ase.units.fs" if name == "langevin" else "100 * ase.units.fs"
        raise ValueError(
            f"temperature_K={temperature_K} is used by a thermostat only: pass {coupling} as well "
            f"(such as {example}), or leave temperature_K out for constant energy"
        )
    make = Bussi if name == "bussi" else Langevin
    return make(float(temperature_K), float(strength))
