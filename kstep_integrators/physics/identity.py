"""Settings of calculators, and of functions that make them, as text to compare.

A run that goes on from a checkpoint, or that stands for another, has to be of the same physics.
Settings of objects are what their constructors take: ASE's ``parameters``, and attributes that are
named as arguments of ``__init__``. Code that no package has a version of is known by its content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.calculation import parts_of
from kstep_integrators.physics.content_text import code_of_class, hash_of, text_of, version_of
from kstep_integrators.physics.held_settings import held_settings, plain_parameters
from kstep_integrators.physics.pyscf_settings import is_pyscf, pyscf_settings

__all__ = ["calculator_name", "changed_settings", "settings_of"]

_WHICH = "calculator"
_LONG = 120


def calculator_name(calculator: object) -> str:
    """Name of a calculator: its own, or that of its class."""
    return str(getattr(calculator, "name", None) or type(calculator).__name__)


def settings_of(physics: BaseCalculator | Callable[..., Any]) -> dict[str, str]:
    """All settings of a calculator, of those that it asks itself, or of a function that makes them.

    Parameters
    ----------
    physics : ase BaseCalculator, or callable
        Of a function: its code, its defaults, and what it takes from its surroundings; of a
        ``functools.partial`` its arguments; of an object its settings.

    Returns
    -------
    dict of str to str
        Names and values as text, the same in every process. What cannot be told from its content
        is there by its type.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> settings_of(LennardJones(sigma=0.8))["sigma"]
    '0.8'
    """
    if not isinstance(physics, BaseCalculator):
        return {"function": _short(text_of(physics))}
    found: dict[str, str] = {}
    for number, part in enumerate(parts_of(physics)):
        label = f"{calculator_name(part)} {number}, " if number else ""
        kind = type(part)
        found[label + _WHICH] = repr(calculator_name(part)) + version_of(kind) + code_of_class(kind)
        held = {**plain_parameters(part), **held_settings(part)}
        for name, value in [*held.items()]:
            if is_pyscf(value):  # setting by setting, so that what differs can be named
                del held[name]
                parts = pyscf_settings(value)
                held |= {name: type(value).__name__, **{f"{name}.{n}": v for n, v in parts.items()}}
        for name, value in held.items():
            found[f"{label}{name}"] = _short(text_of(value))
    return found


def changed_settings(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Settings that differ, each with both values; of other calculators, only which they are.

    Examples
    --------
    >>> changed_settings({"xc": "'pbe'"}, {"xc": "'b3lyp'"})
    ["xc 'pbe', now 'b3lyp'"]
    """
    names = dict.fromkeys([*before, *now])
    if before.get(_WHICH) != now.get(_WHICH):
        names = {_WHICH: None}
    return [
        f"{name} {before.get(name, 'not there')}, now {now.get(name, 'not there')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _short(text: str) -> str:
    """A text that can be shown: the end of a long one as a hash."""
    return text if len(text) <= _LONG else f"{text[: _LONG - 20]}... {hash_of(text.encode())}"
