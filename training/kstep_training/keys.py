"""Keys of the commands: fields of settings with their default, unit and meaning.

The metadata of the fields are those of :class:`kstep_integrators.step.options.RunOptions`, so that
both are described in one way.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Final

__all__ = ["FORMER_NAMES", "current_names", "nearest", "setting"]

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
