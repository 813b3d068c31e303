"""Warnings of a run: of the first event of a kind, the tenth, the hundredth."""

from __future__ import annotations

import warnings

__all__ = ["KStepWarning", "milestone", "warn_sparingly"]


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
