"""Settings from files and ``key=value`` arguments, checked against a dataclass.

A key that is no field of the dataclass is an error that names the nearest one that is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from kstep_training.keys import nearest

__all__ = ["as_overrides", "override", "read_mapping", "read_options"]

T = TypeVar("T")


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        if isinstance(config[key], DictConfig):
            yield from _keys(config[key], f"{prefix}{key}.")


def read_options(settings: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """A dataclass of settings from a YAML file, changed by ``key=value`` overrides.

    Parameters
    ----------
    settings : type
        A dataclass whose fields all have defaults.
    path : Path
    overrides : sequence of str
        Such as ``fit.epochs=5``.

    Raises
    ------
    ValueError
        If a key is unknown (the message names the nearest), a value has the wrong type, or the
        file is no YAML mapping.
    """
    return _merged(settings, read_mapping(path), overrides, f"{path}: ")


def read_mapping(path: Path) -> DictConfig:
    """The keys and values of a YAML file, as they stand there.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        If the file is no YAML mapping.
    """
    try:
        given = OmegaConf.load(path)
    except (YAMLError, OSError) as error:  # OSError also for a file that is one number
        raise ValueError(f"{path} is not a recipe: {error}") from error
    if not isinstance(given, DictConfig):
        raise ValueError(f"{path} is not a recipe: it is a list, not keys with values")
    return given


def override(settings: type[T], overrides: Sequence[str]) -> T:
    """The defaults of a dataclass of settings, changed by ``key=value`` overrides.

    Parameters
    ----------
    settings : type
        A dataclass whose fields all have defaults.
    overrides : sequence of str

    Raises
    ------
    ValueError
        If a key is unknown (the message names the nearest) or a value has the wrong type.
    """
    return _merged(settings, OmegaConf.create(), overrides, "")


def as_overrides(settings: Any) -> list[str]:
    """The ``key=value`` overrides that make settings out of their defaults.

    Parameters
    ----------
    settings : dataclass instance
    """
    default, overrides = type(settings)(), list[str]()
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            overrides += [f"{field.name}.{override}" for override in as_overrides(value)]
        elif value != getattr(default, field.name):
            overrides.append(f"{field.name}={json.dumps(value)}")
    return overrides


def _merged(kind: type[T], given: DictConfig, overrides: Sequence[str], where: str) -> T:
    schema = OmegaConf.structured(kind)
    OmegaConf.set_readonly(schema, False)  # it is, if the dataclass is frozen
    known = list(_keys(schema))
    for key in (*_keys(given), *(text.split("=", 1)[0] for text in overrides)):
        if key not in known:
            raise ValueError(f"{where}unknown key {key!r}; did you mean {nearest(key, known)!r}?")
    for text in overrides:
        if "=" not in text:
            raise ValueError(f"override {text!r} is not of the form key=value")
    try:
        merged = OmegaConf.merge(schema, given, OmegaConf.from_dotlist(list(overrides)))
        return cast(T, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{where}{error}") from error
    except TypeError as error:  # keys with values in place of a list
        mixed = ", ".join(sorted(_mismatched(schema, given, overrides)))
        raise ValueError(f"{where}{mixed or error}") from error


def _mismatched(schema: DictConfig, given: DictConfig, overrides: Sequence[str]) -> Iterator[str]:
    """Keys that are a list in the schema and keys with values as given, or the other way round."""
    for part in (given, OmegaConf.from_dotlist(list(overrides))):
        for key in _keys(schema):
            wanted, value = (OmegaConf.select(one, key) for one in (schema, part))
            if isinstance(wanted, ListConfig) and isinstance(value, DictConfig):
                yield f"{key} is {OmegaConf.to_container(value)}, expected a list such as [1, 2]"
            elif isinstance(wanted, DictConfig) and isinstance(value, ListConfig):
                yield f"{key} is {OmegaConf.to_container(value)}, expected keys with values"
