"""Checks that arguments of different modules have in common."""

from __future__ import annotations

import numpy as np

__all__ = ["positive_integer"]


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
