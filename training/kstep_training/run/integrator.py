"""Keys of the integrator, made from :class:`kstep_integrators.step.options.RunOptions`.

Each option that a command line can say becomes a key, with its times in fs and its rates in 1/ps
(``timestep`` is ``timestep_fs``, ``friction`` is ``friction_per_ps``): a new option of a run is one
of ``kstep run`` without a line here. A pressure is in bar.
"""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

from kstep_integrators.step.options import RunOptions
from kstep_integrators.units import BAR, FS, PS
from kstep_training.keys import setting

__all__ = ["IntegratorSettings", "integrator_arguments", "option_keys"]

_PLAIN: Final = (bool, int, float, str)
"""Types of what a command line can say, the first that an option takes being that of its key."""
_UNITS: Final = {
    "time": ("_fs", "fs", FS),
    "1/time": ("_per_ps", "1/ps", 1.0 / PS),
    "eV/angstrom^3": ("_bar", "bar", BAR),
}
"""End of the name, unit, and what that unit is in ASE's, by the unit of an option."""


def _plain_type(kind: Any) -> Any:
    """Type of the key of an option; None if a command line cannot say it."""
    kinds = get_args(kind) or (kind,)
    plain = next((known for known in _PLAIN if known in kinds), None)
    return plain | None if plain is not None and NoneType in kinds else plain


def option_keys(options: type) -> dict[str, tuple[str, Any, Any]]:
    """Name, type and field of the key of each option.

    Parameters
    ----------
    options : type
        :class:`~kstep_integrators.step.options.RunOptions`, or a dataclass with such metadata.

    Examples
    --------
    >>> option_keys(RunOptions)["friction"][0]
    'friction_per_ps'
    """
    types = get_type_hints(options)
    keys = {}
    for option in dataclasses.fields(options):
        plain = _plain_type(types[option.name])
        if plain is None:
            continue
        end, unit, size = _UNITS.get(option.metadata["unit"], ("", option.metadata["unit"], 1.0))
        default = option.default
        if default is not None and size != 1.0:
            default = default / size
        keys[option.name] = (
            f"{option.name}{end}",
            plain,
            setting(default, option.metadata["meaning"], unit),
        )
    return keys


_KEYS: Final = option_keys(RunOptions)
_SIZES: Final = {"fs": FS, "bar": BAR}

IntegratorSettings: Any = dataclasses.make_dataclass(
    "IntegratorSettings", _KEYS.values(), namespace={"__module__": __name__}, frozen=True
)
"""Base of settings that have the keys of an integrator."""


def integrator_arguments(settings: Any, **changes: Any) -> dict[str, Any]:
    """The options of a run that settings ask for, in ASE units.

    Parameters
    ----------
    settings : IntegratorSettings
    **changes
        Options that are others, in ASE units.

    Returns
    -------
    dict
        Arguments of :class:`~kstep_integrators.KStepDynamics` and of
        :class:`~kstep_integrators.step.options.RunOptions`. Those of a heat bath that is not asked
        for are left out.

    Examples
    --------
    >>> arguments = integrator_arguments(IntegratorSettings(k=4, timestep_fs=0.5))
    >>> arguments["k"], arguments["timestep"] == 0.5 * FS
    (4, True)
    """
    arguments: dict[str, Any] = {}
    for option, (key, _, made) in _KEYS.items():
        value = getattr(settings, key)
        unit = made.metadata["unit"]
        if value is not None and unit == "1/ps":
            value = value / PS
        elif value is not None and unit in _SIZES:
            value = value * _SIZES[unit]
        arguments[option] = value
    arguments |= changes
    thermostat = arguments["thermostat"]
    for option, bath in (("friction", "langevin"), ("taut", "bussi")):
        if thermostat != bath:
            del arguments[option]
    if thermostat is None:
        del arguments["temperature_K"]
    return arguments
