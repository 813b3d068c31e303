"""Warnings of the first event of a kind, the tenth, the hundredth; lines of what takes long."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["KStepWarning", "milestone", "taking_long", "warn_sparingly"]

_log = logging.getLogger(__name__)


class KStepWarning(UserWarning):
    """Something in a run that its user should know of.

    Examples
    --------
    >>> import warnings
    >>> from kstep_integrators import KStepWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", KStepWarning)  # a run that warns stops
    """


def milestone(before: int, now: int) -> int | None:
    """The first power of ten that a count has just reached; None if it has reached none.

    Parameters
    ----------
    before, now : int
        The count before this step, and with it.

    Examples
    --------
    >>> [milestone(before, before + 1) for before in (0, 1, 9, 10)]
    [1, None, 10, None]
    """
    reached = 1
    while reached <= now:
        if before < reached:
            return reached
        reached *= 10
    return None


def warn_sparingly(message: str, before: int, now: int) -> None:
    """Warn of the first of its kind, the tenth, the hundredth, ...

    Parameters
    ----------
    message : str
    before, now : int
        How often it had happened before this step, and with it.
    """
    reached = milestone(before, now)
    if reached is not None:
        count = f" ({now} so far; the next warning comes at {10 * reached})"
        warnings.warn(message + count, KStepWarning, stacklevel=2)


@contextmanager
def taking_long(what: str, said: bool = True) -> Iterator[None]:
    """Say in the log, and on standard error if it is a terminal, what begins, and the seconds.

    Parameters
    ----------
    what : str
        What is done, such as ``"compiling the force"``.
    said : bool
        False for not a word.
    """
    from rich.console import Console

    console = Console(stderr=True)

    def say(line: str) -> None:
        if said:
            _log.info(line)
            if console.is_terminal:
                console.print(line, markup=False, highlight=False)

    say(f"{what} ...")
    began = time.perf_counter()
    yield
    say(f"{what}: {time.perf_counter() - began:.1f} s")
