"""What a run says out loud: not every time, but never not at all."""

from __future__ import annotations

import warnings

__all__ = ["KStepWarning", "warn_sparingly"]


class KStepWarning(UserWarning):
    """Something in a run that its user should know of.

    Examples
    --------
    >>> import warnings
    >>> from kstep_integrators import KStepWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", KStepWarning)  # a run that warns stops
    """


def warn_sparingly(message: str, before: int, now: int) -> None:
    """Warn of the first of its kind, the tenth, the hundredth, ...

    Parameters
    ----------
    message : str
    before, now : int
        How often it had happened before this step, and with it.
    """
    milestone = 1
    while milestone <= now:
        if before < milestone:
            count = f" ({now} so far; the next warning comes at {10 * milestone})"
            warnings.warn(message + count, KStepWarning, stacklevel=2)
            return
        milestone *= 10
