"""Settings of calculators, and of functions that make them, as text to compare.

A run that goes on from a checkpoint, or that stands for another, has to be of the same physics.
Settings of objects are what their constructors take: ASE's ``parameters``, and attributes that are
named as arguments of ``__init__``. Code that no package has a version of is known by its content.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.calculation import PLAIN, parts_of
from kstep_integrators.physics.code_names import changed_names, read_names
from kstep_integrators.physics.pyscf_settings import is_pyscf, pyscf_settings

__all__ = ["calculator_name", "changed_settings", "held_settings", "settings_of"]

_WHICH = "calculator"
_LONG = 120
_SHOWN = 16
"""Elements of an array that are written out; longer ones are known by a hash."""
_VERSIONED = ("ase", "builtins", "kstep_integrators", "kstep_training")
"""Packages whose versions a checkpoint keeps anyway."""
_PHYSICS = ("openmm", "pyscf", "tblite", "xtb")
"""Packages whose versions a checkpoint keeps if they are in use."""
_ABOUT = ("__doc__", "__firstlineno__", "__module__", "__qualname__")
"""Attributes of a class that say nothing of what it does."""
_SETTINGS = (str, int, float, complex, tuple, dict, type(None))
"""Attributes of a class that are settings; lists and arrays may be records of what it has done."""
_BESIDE = frozenset({"cache_api", "directory", "label", "txt", "use_cache", "verbose", "verbosity"})
"""Settings of calculators that no number depends on."""


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
        return {"function": _short(_text(physics, frozenset()))}
    found: dict[str, str] = {}
    for number, part in enumerate(parts_of(physics)):
        label = f"{calculator_name(part)} {number}, " if number else ""
        kind = type(part)
        found[label + _WHICH] = repr(calculator_name(part)) + _version(kind) + _code_of_class(kind)
        held = {**_plain_parameters(part), **held_settings(part)}
        for name, value in [*held.items()]:
            if is_pyscf(value):  # setting by setting, so that what differs can be named
                del held[name]
                parts = pyscf_settings(value)
                held |= {name: type(value).__name__, **{f"{name}.{n}": v for n, v in parts.items()}}
        for name, value in held.items():
            found[f"{label}{name}"] = _short(_text(value, frozenset()))
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


def held_settings(calculator: object) -> dict[str, Any]:
    """Attributes of an object that its constructor takes, its calculators excepted.

    An argument ``charge`` may be kept as ``_charge``.
    """
    attributes = getattr(calculator, "__dict__", {})
    found = {}
    for name in _constructor_arguments(type(calculator)):  # type: ignore[arg-type]  # types hash
        kept = name if name in attributes else f"_{name}"
        if kept in attributes and not _is_calculators(attributes[kept]):
            found[name] = attributes[kept]
    mixer = attributes.get("mixer")  # of ASE's combinations: it has their weights
    if mixer is not None:
        found |= {name: one for name, one in vars(mixer).items() if not _is_calculators(one)}
    return found


def _short(text: str) -> str:
    """A text that can be shown: the end of a long one as a hash."""
    return text if len(text) <= _LONG else f"{text[: _LONG - 20]}... {_hash(text.encode())}"


@functools.cache
def _constructor_arguments(kind: type) -> tuple[str, ...]:
    """Names of arguments of the constructors of a class and its bases."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        made = vars(base).get("__init__")
        if isinstance(made, FunctionType):
            names |= dict.fromkeys(inspect.signature(made).parameters)
    other = _BESIDE | {"self", "atoms", "results", "parameters"}
    return tuple(name for name in names if name not in other)


def _plain_parameters(calculator: object) -> dict[str, Any]:
    """ASE's parameters of a calculator, but for its calculators."""
    parameters = getattr(calculator, "parameters", None)
    if not isinstance(parameters, Mapping):
        return {}
    return {
        str(name): value
        for name, value in parameters.items()
        if name not in _BESIDE and not _is_calculators(value)
    }


def _is_calculators(value: object) -> bool:
    if type(value) in PLAIN:
        return False  # at once: it is asked at every step
    held = list(value.values()) if isinstance(value, dict) else value
    if not held or not isinstance(held, list | tuple):
        held = [held]
    return all(isinstance(one, BaseCalculator) for one in held)


def _text(value: Any, inside: frozenset[int]) -> str:
    """A value as text that is the same for the same content in every process."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if id(value) in inside:  # it holds itself
        return type(value).__qualname__
    inside |= {id(value)}
    if isinstance(value, Mapping):
        entries = sorted(f"{_text(k, inside)}: {_text(v, inside)}" for k, v in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(entry, inside) for entry in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_text(entry, inside) for entry in value)) + "}"
    if isinstance(value, functools.partial):
        return _text(["partial", value.func, value.args, value.keywords], inside)
    if inspect.ismethod(value):
        return f"{_text(value.__self__, inside)}.{value.__name__}"
    if isinstance(value, FunctionType):
        return _function(value, inside)
    if isinstance(value, type):
        return value.__qualname__ + _code_of_class(value, inside)
    if isinstance(getattr(value, "__wrapped__", None), FunctionType):  # it remembers results
        return _text(value.__wrapped__, inside)
    if isinstance(value, ModuleType):
        return _module(value)
    array = _array(value)
    if array is not None:
        return _array_text(array, inside)
    return _object(value, inside)


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
    try:
        return np.asarray(value) if hasattr(value, "__array__") else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _array_text(array: np.ndarray[Any, Any], inside: frozenset[int]) -> str:
    if array.dtype.hasobject:
        return _text(array.tolist(), inside)
    if array.size <= _SHOWN:
        return repr(array.tolist())
    return f"array {array.shape} {_hash(array.dtype.str.encode() + array.tobytes())}"


def _object(value: Any, inside: frozenset[int]) -> str:
    """An object by its class and its settings, or all its fields if it is a dataclass."""
    kind = type(value)
    name = kind.__qualname__ + _code_of_class(kind, inside)
    if isinstance(value, Atoms):
        held = {**value.arrays, "cell": value.cell.array, "pbc": value.pbc, "info": value.info}
        return f"{name}({_text(held, inside)})"
    if isinstance(value, BaseCalculator):
        return f"{name}({_text(settings_of(value), inside)})"
    if kind.__module__.partition(".")[0] == "openmm" and hasattr(value, "__getstate__"):
        return f"{name} {_hash(str(value.__getstate__()).encode())}"
    if hasattr(value, "state_dict") and callable(value.state_dict):  # a network
        return f"{name}({_text(dict(value.state_dict()), inside)})"
    if is_pyscf(value):
        held = pyscf_settings(value)
    elif dataclasses.is_dataclass(value):
        held = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    else:
        held = held_settings(value)
        if not held.keys() >= {*_constructor_arguments(kind)}:  # type: ignore[arg-type]  # types hash
            held = getattr(value, "__dict__", {})  # it keeps them under other names
    return f"{name}({_text(held, inside)})" if held else name


def _module(module: ModuleType) -> str:
    """A module by the text of its file, if no package has a version of it."""
    file = getattr(module, "__file__", None)
    if file is None or _has_version(module.__name__):
        return module.__name__
    try:
        return f"{module.__name__} {_hash(Path(file).read_bytes())}"
    except OSError:
        return module.__name__


def _function(function: FunctionType, inside: frozenset[int]) -> str:
    """A function by its code, its defaults, and what the code takes from its surroundings."""
    changed = changed_names(function.__code__)
    if _has_version(function.__module__):
        name = f"{function.__module__}.{function.__qualname__}{_version(function)}"
        return f"{name}({_text(_around(function, changed), inside)})"
    return f"{function.__qualname__} {_hash(_content(function, changed, inside).encode())}"


def _content(function: FunctionType, changed: frozenset[str], inside: frozenset[int]) -> str:
    """Code of a function, and its surroundings but for the names that some code changes."""
    code, around = function.__code__, _around(function, changed)
    for name in read_names(code) - changed:
        if name in function.__globals__:
            around[name] = function.__globals__[name]
    held = [function.__defaults__, function.__kwdefaults__, around]
    return f"{_code(code)} {_text(held, inside)}"


def _around(function: FunctionType, changed: frozenset[str]) -> dict[str, Any]:
    """Variables of the functions around it."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {
        name: cell.cell_contents
        for name, cell in cells
        if name not in changed and cell != type(cell)()
    }


def _code(code: CodeType) -> str:
    constants = [
        _code(one) if isinstance(one, CodeType) else _text(one, frozenset())
        for one in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _code_of_class(kind: type, inside: frozenset[int] = frozenset()) -> str:
    """Hash of the body of a class that no package has a version of; empty for others.

    Code of its methods counts with what it takes from its surroundings, as that of functions does.
    """
    inside |= {id(kind)}
    members = [
        (name, one)
        for base in kind.__mro__
        if not _has_version(base.__module__)
        for name, one in sorted(vars(base).items())
        if name not in _ABOUT
    ]
    functions = [(name, _function_of(one)) for name, one in members]
    codes = [one.__code__ for _, one in functions if one is not None]
    changed = frozenset[str]().union(*(changed_names(code) for code in codes))
    body = [
        f"{name} {_content(one, changed, inside)}" for name, one in functions if one is not None
    ]
    body += [
        f"{name} {_text(one, inside)}"
        for name, one in members
        if isinstance(one, _SETTINGS) and not name.startswith("__")
    ]
    return f" with code {_hash(str(body).encode())}" if body else ""


def _function_of(member: Any) -> FunctionType | None:
    """The function of a method, of a static or class method, or of a property."""
    for name in ("fget", "__func__", "func"):
        member = getattr(member, name, member)
    return member if isinstance(member, FunctionType) else None


def _version(made: type | FunctionType) -> str:
    """Version of the package of a class or function, where a checkpoint does not keep it anyway."""
    package = str(made.__module__).partition(".")[0]
    if package in (*_VERSIONED, *_PHYSICS, "__main__"):
        return ""
    version = getattr(sys.modules.get(package), "__version__", None)
    return f" of {package} {version}" if isinstance(version, str) else ""


def _has_version(module: str) -> bool:
    package = module.partition(".")[0]
    if package in _VERSIONED or (package in sys.stdlib_module_names and package != "__main__"):
        return True
    return hasattr(sys.modules.get(package), "__version__")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
