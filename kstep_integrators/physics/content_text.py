"""Values, code of functions and bodies of classes as text, the same in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.code_names import changed_names, read_names
from kstep_integrators.physics.held_settings import (
    constructor_arguments,
    held_settings,
    plain_parameters,
)
from kstep_integrators.physics.pyscf_settings import is_pyscf, pyscf_settings

__all__ = ["code_of_class", "hash_of", "text_of", "version_of"]

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


def text_of(value: Any, inside: frozenset[int] = frozenset()) -> str:
    """A value as text that is the same for the same content in every process.

    Parameters
    ----------
    value : object
    inside : frozenset of int
        Identities of what it is a part of: a value may hold itself.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if id(value) in inside:  # it holds itself
        return type(value).__qualname__
    inside |= {id(value)}
    if isinstance(value, Mapping):
        entries = sorted(f"{text_of(k, inside)}: {text_of(v, inside)}" for k, v in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text_of(entry, inside) for entry in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(text_of(entry, inside) for entry in value)) + "}"
    if isinstance(value, functools.partial):
        return text_of(["partial", value.func, value.args, value.keywords], inside)
    if inspect.ismethod(value):
        return f"{text_of(value.__self__, inside)}.{value.__name__}"
    if isinstance(value, FunctionType):
        return _function(value, inside)
    if isinstance(value, type):
        return value.__qualname__ + code_of_class(value, inside)
    if isinstance(getattr(value, "__wrapped__", None), FunctionType):  # it remembers results
        return text_of(value.__wrapped__, inside)
    if isinstance(value, ModuleType):
        return _module(value)
    array = _array(value)
    if array is not None:
        return _array_text(array, inside)
    return _object(value, inside)


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor; buffers of files detach too
        value = value.detach().cpu()
    try:
        return np.asarray(value) if hasattr(value, "__array__") else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _array_text(array: np.ndarray[Any, Any], inside: frozenset[int]) -> str:
    if array.dtype.hasobject:
        return text_of(array.tolist(), inside)
    if array.size <= _SHOWN:
        return repr(array.tolist())
    return f"array {array.shape} {hash_of(array.dtype.str.encode() + array.tobytes())}"


def _object(value: Any, inside: frozenset[int]) -> str:
    """An object by its class and its settings, or all its fields if it is a dataclass."""
    kind = type(value)
    name = kind.__qualname__ + code_of_class(kind, inside)
    if isinstance(value, Atoms):
        held = {**value.arrays, "cell": value.cell.array, "pbc": value.pbc, "info": value.info}
        return f"{name}({text_of(held, inside)})"
    if isinstance(value, BaseCalculator):
        held = {**plain_parameters(value), **held_settings(value)}
        return f"{name}({text_of(held, inside)})"
    if kind.__module__.partition(".")[0] == "openmm" and hasattr(value, "__getstate__"):
        return f"{name} {hash_of(str(value.__getstate__()).encode())}"
    if hasattr(value, "state_dict") and callable(value.state_dict):  # a network
        return f"{name}({text_of(dict(value.state_dict()), inside)})"
    if is_pyscf(value):
        held = pyscf_settings(value)
    elif dataclasses.is_dataclass(value):
        held = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    else:
        held = held_settings(value)
        if not held.keys() >= {*constructor_arguments(kind)}:  # type: ignore[arg-type]  # types hash
            held = getattr(value, "__dict__", {})  # it keeps them under other names
    return f"{name}({text_of(held, inside)})" if held else name


def _module(module: ModuleType) -> str:
    """A module by the text of its file, if no package has a version of it."""
    file = getattr(module, "__file__", None)
    if file is None or _has_version(module.__name__):
        return module.__name__
    try:
        return f"{module.__name__} {hash_of(Path(file).read_bytes())}"
    except OSError:
        return module.__name__


def _function(function: FunctionType, inside: frozenset[int]) -> str:
    """A function by its code, its defaults, and what the code takes from its surroundings."""
    changed = changed_names(function.__code__)
    if _has_version(function.__module__):
        name = f"{function.__module__}.{function.__qualname__}{version_of(function)}"
        return f"{name}({text_of(_around(function, changed), inside)})"
    return f"{function.__qualname__} {hash_of(_content(function, changed, inside).encode())}"


def _content(function: FunctionType, changed: frozenset[str], inside: frozenset[int]) -> str:
    """Code of a function, and its surroundings but for the names that some code changes."""
    code, around = function.__code__, _around(function, changed)
    for name in read_names(code) - changed:
        if name in function.__globals__:
            around[name] = function.__globals__[name]
    held = [function.__defaults__, function.__kwdefaults__, around]
    return f"{_code(code)} {text_of(held, inside)}"


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
        _code(one) if isinstance(one, CodeType) else text_of(one, frozenset())
        for one in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def code_of_class(kind: type, inside: frozenset[int] = frozenset()) -> str:
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
        f"{name} {text_of(one, inside)}"
        for name, one in members
        if isinstance(one, _SETTINGS) and not name.startswith("__")
    ]
    return f" with code {hash_of(str(body).encode())}" if body else ""


def _function_of(member: Any) -> FunctionType | None:
    """The function of a method, of a static or class method, or of a property."""
    for name in ("fget", "__func__", "func"):
        member = getattr(member, name, member)
    return member if isinstance(member, FunctionType) else None


def version_of(made: type | FunctionType) -> str:
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


def hash_of(content: bytes) -> str:
    """The first twelve digits of the SHA-256 of some content."""
    return hashlib.sha256(content).hexdigest()[:12]
