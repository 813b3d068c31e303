"""Errors that name the extra to install where e3nn is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs_e3nn"]


@contextmanager
def needs_e3nn() -> Iterator[None]:
    """Say which extra to install if an import inside fails.

    Raises
    ------
    ImportError
        If e3nn is not installed.

    Examples
    --------
    >>> with needs_e3nn():
    ...     raise ImportError("No module named 'e3nn'")
    Traceback (most recent call last):
    ImportError: the backbone tensor_product needs e3nn, which cannot be imported ...
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"the backbone tensor_product needs e3nn, which cannot be imported ({error}); install "
            "it with: pip install 'kstep-integrators[e3nn]'"
        ) from error
