"""Checks that arguments of different modules have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = [
    "SetOnce", "check_device", "check_dtype", "path_of", "positive_integer", "positive_number",
    "real_number", "true_or_false", "whole_number", "whole_numbers",
]  # fmt: skip


class SetOnce:
    """An object whose public attributes are set when it is made, and never again.

    What depends on them has been prepared by then: a change would reach a part of a run only.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ and not name.startswith("_"):
            kind = type(self).__name__
            raise AttributeError(
                f"{name} of a {kind} cannot be changed once it is made, because runs have prepared "
                f"what depends on it; make another {kind} with the {name} you want, and a run "
                "with it"
            )
        super().__setattr__(name, value)


def true_or_false(name: str, value: object) -> bool:
    """The value, a bool.

    Raises
    ------
    TypeError
        If it is anything else; 1 and "yes" are.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}, expected True or False")
    return bool(value)


def real_number(name: str, value: object, meaning: str) -> float:
    """The value as a float, whatever its size.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : object
    meaning : str
        What the number is, and its unit.

    Raises
    ------
    TypeError
        If it is no number; a bool is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, expected a number: {meaning}")
    return float(value)


def check_dtype(dtype: object) -> None:
    """Refuse what networks do not compute in.

    Raises
    ------
    ValueError
        For all but single and double precision.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"dtype {dtype} is not supported; use torch.float32 or torch.float64, to compute in "
            "single or double precision"
        )


def positive_integer(name: str, value: object, meaning: str) -> int:
    """The value as an int.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : object
    meaning : str
        What the number counts.

    Raises
    ------
    ValueError
        If it is not an integer of 1 or more; a bool is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}, expected an integer >= 1: {meaning}")
    return int(value)


def whole_number(name: str, value: object, meaning: str) -> int:
    """The value as an int of 0 or more.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : object
    meaning : str
        What the number counts.

    Raises
    ------
    ValueError
        If it is not an integer of 0 or more; a bool is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} is {value!r}, expected a whole number from 0: {meaning}")
    return int(value)


def whole_numbers(name: str, values: object, meaning: str) -> tuple[int, ...]:
    """The values as ints of 0 or more.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    values : object
        A list, tuple, set, range or array of one dimension.
    meaning : str
        What the numbers are.

    Raises
    ------
    TypeError
        If it is one number, or text, or nothing that has items.
    ValueError
        If an item is not an integer of 0 or more; a bool is none, nor is a mask of them.
    """
    # An array without dimensions can be asked for items, and has none.
    single = isinstance(values, np.ndarray) and values.ndim == 0
    if isinstance(values, str | bytes) or single or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}, expected several whole numbers: {meaning}")
    return tuple(whole_number(f"an entry of {name}", value, meaning) for value in values)


def check_device(device: object) -> None:
    """Refuse what is no device of torch, or is not there.

    Raises
    ------
    TypeError, ValueError
        The message says what there is.
    """
    if device == "auto":
        return
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device is {device!r}, expected 'auto', 'cpu' or 'cuda'")
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}, expected 'auto', 'cpu' or 'cuda'") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is {str(device)!r}, but torch finds no GPU here; use device='cpu', or install "
            "a build of torch for your GPU"
        )


def positive_number(name: str, value: object, meaning: str) -> float:
    """The value as a float.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : object
    meaning : str
        What the number is, and its unit.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not finite and above 0.
    """
    number = real_number(name, value, f"positive, {meaning}")
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError(f"{name} is {value!r}, expected a positive number: {meaning}")
    return number


def path_of(name: str, value: object) -> Path:
    """The value as a path.

    Raises
    ------
    TypeError
        If it is neither text nor a path.
    """
    if not isinstance(value, str | Path):
        raise TypeError(f"{name} is {value!r}, expected a path")
    return Path(value)
