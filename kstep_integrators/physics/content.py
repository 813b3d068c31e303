"""Values that compare by their content, kept apart from objects that are edited in place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.held_settings import held_settings
from kstep_integrators.physics.pyscf_settings import is_pyscf, pyscf_settings

__all__ = ["content_of"]

_AS_IS = frozenset({str, int, bool, type(None)})
_WHOLE = (str, int)
_IN_ORDER = (list, tuple)
"""Types, made once: this is asked at every step."""
_DEPTH = 6
"""Objects inside objects that are looked into."""
_SMALL = 100_000
"""Weights of a network that are compared by their bytes; of more, torch's counts of edits."""


def content_of(value: Any, depth: int = _DEPTH) -> Any:
    """A value that compares by content: bytes of arrays, containers and settings of objects.

    A number that is not a number equals itself, as its bytes do.

    Parameters
    ----------
    value : object
    depth : int
        How many containers and objects are looked into, one inside another.

    Returns
    -------
    object
        Holds nothing that could be edited in place through ``value``, as far as its content is
        known: plain values, containers, arrays, networks, dataclasses, and objects that keep what
        their constructors take. Others compare as they are.

    Examples
    --------
    >>> weights = [1.0, np.ones(2)]
    >>> before = content_of(weights)
    >>> weights[1][0] = 2.0
    >>> content_of(weights) == before
    False
    """
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is float:
        return "nan" if value != value else value
    if isinstance(value, _WHOLE):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [content_of(entry, depth - 1) for entry in value.tolist()]
        return (value.dtype.char, value.shape, value.tobytes())
    if isinstance(value, float):
        return "nan" if value != value else value
    if depth == 0:
        return _Opaque(value)
    if isinstance(value, dict):
        return {key: content_of(entry, depth - 1) for key, entry in value.items()}
    if isinstance(value, _IN_ORDER):
        return [content_of(entry, depth - 1) for entry in value]
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor; buffers of files detach too
        value = value.detach().cpu()
    if hasattr(value, "__array__"):
        return content_of(np.asarray(value), depth)
    if hasattr(value, "state_dict") and hasattr(value, "parameters"):
        return _Opaque(value), _weights(value)
    return _of_object(value, depth)


def _of_object(value: Any, depth: int) -> Any:
    """An object and its settings."""
    if isinstance(value, type | BaseCalculator):  # calculators are looked at on their own
        return _Opaque(value)
    if is_pyscf(value):
        held = pyscf_settings(value)
    elif dataclasses.is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    elif isinstance(value, SimpleNamespace):
        held = vars(value)
    else:
        held = held_settings(value)
    return (_Opaque(value), content_of(held, depth - 1)) if held else _Opaque(value)


def _weights(network: Any) -> list[Any]:
    """Weights of a network of torch, or how often each of them has been edited."""
    tensors = list(network.state_dict(keep_vars=True).values())
    if sum(one.numel() for one in tensors) <= _SMALL:
        return [content_of(one) for one in tensors]
    return [(id(one), None if one.is_inference() else one._version) for one in tensors]  # noqa: SLF001


@dataclass(frozen=True, eq=False)
class _Opaque:
    """An object that may compare in ways of its own, such as element by element."""

    value: object

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Opaque):
            return False
        try:
            return self.value is other.value or bool(self.value == other.value)
        except (TypeError, ValueError, RuntimeError):
            return False

    __hash__ = None  # type: ignore[assignment]
