"""Settings that an object holds: parameters of ASE, and what its constructor takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.calculation import PLAIN

__all__ = ["constructor_arguments", "held_settings", "plain_parameters"]

_BESIDE = frozenset({"cache_api", "directory", "label", "txt", "use_cache", "verbose", "verbosity"})
"""Settings of calculators that no number depends on."""


def held_settings(calculator: object) -> dict[str, Any]:
    """Attributes of an object that its constructor takes, its calculators excepted.

    An argument ``charge`` may be kept as ``_charge``.
    """
    attributes = getattr(calculator, "__dict__", {})
    found = {}
    for name in constructor_arguments(type(calculator)):  # type: ignore[arg-type]  # types hash
        kept = name if name in attributes else f"_{name}"
        if kept in attributes and not _is_calculators(attributes[kept]):
            found[name] = attributes[kept]
    mixer = attributes.get("mixer")  # of ASE's combinations: it has their weights
    if mixer is not None:
        found |= {name: one for name, one in vars(mixer).items() if not _is_calculators(one)}
    return found


def plain_parameters(calculator: object) -> dict[str, Any]:
    """ASE's parameters of a calculator, but for its calculators."""
    parameters = getattr(calculator, "parameters", None)
    if not isinstance(parameters, Mapping):
        return {}
    return {
        str(name): value
        for name, value in parameters.items()
        if name not in _BESIDE and not _is_calculators(value)
    }


@functools.cache
def constructor_arguments(kind: type) -> tuple[str, ...]:
    """Names of arguments of the constructors of a class and its bases."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        made = vars(base).get("__init__")
        if isinstance(made, FunctionType):
            names |= dict.fromkeys(inspect.signature(made).parameters)
    other = _BESIDE | {"self", "atoms", "results", "parameters"}
    return tuple(name for name in names if name not in other)


def _is_calculators(value: object) -> bool:
    if type(value) in PLAIN:
        return False  # at once: it is asked at every step
    held = list(value.values()) if isinstance(value, dict) else value
    if not held or not isinstance(held, (list, tuple)):
        held = [held]
    return all(isinstance(one, BaseCalculator) for one in held)
