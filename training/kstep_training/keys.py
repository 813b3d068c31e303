"""Keys of the commands: fields of settings with their default, unit and meaning.

The metadata of the fields are those of :class:`kstep_integrators.step.options.RunOptions`, so that
both are described in one way.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Final, get_type_hints

__all__ = ["FORMER_NAMES", "Key", "current_names", "keys_of", "nearest", "setting"]

FORMER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "base_fs": "timestep_fs",
        "calculator": "physics",
        "ensemble_picoseconds": "ensemble_length_ps",
        "method": "physics",
        "picoseconds": "length_ps",
        "strides": "k",
        "temperature": "temperature_K",
    }
)
"""Keys of earlier versions, and those that have taken their places."""


def setting(default: Any, meaning: str, unit: str = "") -> Any:
    """A field of a dataclass of settings.

    Parameters
    ----------
    default : Any
        A list is copied for each instance.
    meaning : str
        In words that need no other page.
    unit : str
        Of a number that has one.

    Examples
    --------
    >>> from dataclasses import dataclass, fields
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     length_ps: float = setting(10.0, "simulated time", "ps")
    >>> Settings().length_ps, fields(Settings)[0].metadata["unit"]
    (10.0, 'ps')
    """
    metadata = {"meaning": meaning, "unit": unit}
    if isinstance(default, list):
        return field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """A key of a command.

    Attributes
    ----------
    name : str
        With its section: ``fit.epochs``.
    default : Any
    unit : str
        Empty for numbers without one, and for what is no number.
    meaning : str
    """

    name: str
    default: Any
    unit: str
    meaning: str

    def __str__(self) -> str:
        text = self.default if isinstance(self.default, str) else json.dumps(self.default)
        return f"{self.name}={text}"


def keys_of(settings: type, section: str = "") -> list[Key]:
    """All keys of a command, those of sections included.

    Parameters
    ----------
    settings : type
        A dataclass whose fields are made by :func:`setting`; one that is a dataclass is a section.
    section : str
        What stands before the names.

    Examples
    --------
    >>> from kstep_training.inputs.physics import PhysicsSettings
    >>> print(keys_of(PhysicsSettings)[1], keys_of(PhysicsSettings)[1].meaning)
    xc=null functional of pyscf; null or hf: Hartree-Fock
    """
    types = get_type_hints(settings)
    keys: list[Key] = []
    for option in fields(settings):
        name = f"{section}{option.name}"
        if is_dataclass(types[option.name]):
            keys += keys_of(types[option.name], f"{name}.")
            continue
        default = option.default
        if option.default_factory is not MISSING:
            default = option.default_factory()
        unit, meaning = (option.metadata.get(part, "") for part in ("unit", "meaning"))
        keys.append(Key(name, default, unit, meaning))
    return keys


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings on record, under the keys of this version.

    Examples
    --------
    >>> current_names({"strides": [4, 8], "seed": 0})
    {'k': [4, 8], 'seed': 0}
    """
    return {FORMER_NAMES.get(key, key): value for key, value in settings.items()}


def nearest(key: str, known: Collection[str]) -> str:
    """The known key that an unknown one most likely stands for.

    Parameters
    ----------
    key : str
        Such as ``fit.epoch``.
    known : collection of str
        Not empty.

    Examples
    --------
    >>> nearest("lenth_ps", ["length_ps", "k"]), nearest("run.calculator", ["run.physics", "run.k"])
    ('length_ps', 'run.physics')
    """
    meant = {name: name for name in known}
    for name in known:
        section, dot, last = name.rpartition(".")
        for former, current in FORMER_NAMES.items():
            if current == last:
                meant.setdefault(f"{section}{dot}{former}", name)
    return meant[difflib.get_close_matches(key, meant, n=1, cutoff=0.0)[0]]
