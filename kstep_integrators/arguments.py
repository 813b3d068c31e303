"""Checks that arguments of different modules have in common."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["positive_integer", "whole_number", "whole_numbers"]


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
