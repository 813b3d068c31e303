"""Checks that arguments of different modules have in common."""

from __future__ import annotations

import numpy as np

__all__ = ["positive_integer", "whole_number"]


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
