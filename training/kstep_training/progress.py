"""Progress bars of all commands (rich)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["followed", "progress_bar"]

T = TypeVar("T")


@contextmanager
def progress_bar(
    description: str, total: int, completed: int = 0, shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Draw a bar while something advances.

    Parameters
    ----------
    description : str
        Of the things that are counted.
    total : int
    completed : int
        From earlier runs.
    shown : bool

    Yields
    ------
    callable
        Takes the number of things that are completed.

    Examples
    --------
    >>> with progress_bar("strides", total=2, shown=False) as update:
    ...     update(1)
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(), disable=not shown) as progress:
        task = progress.add_task(description, total=total, completed=completed)
        yield lambda number: progress.update(task, completed=number)


def followed(things: Iterable[T], description: str, total: int, shown: bool = True) -> Iterator[T]:
    """Yield things, with a bar of how many there have been.

    Parameters
    ----------
    things : iterable
    description, total, shown
        As for :func:`progress_bar`.

    Examples
    --------
    >>> list(followed("ab", "letters", total=2, shown=False))
    ['a', 'b']
    """
    with progress_bar(description, total, shown=shown) as update:
        for number, thing in enumerate(things, 1):
            yield thing
            update(number)
