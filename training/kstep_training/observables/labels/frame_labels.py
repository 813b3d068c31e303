"""Labels of one frame after the other, those that fail left out and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ["FrameFailed", "over_frames"]


class FrameFailed(Exception):
    """A frame has no label, for the reason of the message: such as an SCF that does not converge.

    Examples
    --------
    >>> str(FrameFailed("the SCF did not converge in 50 cycles"))
    'the SCF did not converge in 50 cycles'
    """


def over_frames(
    frames: Sequence[Atoms], label: Callable[[Atoms], Mapping[str, Any]]
) -> tuple[dict[str, npt.NDArray[Any]], dict[int, str]]:
    """Labels of all frames that have one.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        F of them.
    label : callable
        Takes a frame and returns its values by name, or raises :class:`FrameFailed`.

    Returns
    -------
    arrays : dict of (F', ...) arrays
        The values of the frames that did not fail, in their order; empty if all did.
    failures : dict
        Reasons by the place of the frame in ``frames``.

    Examples
    --------
    >>> def height(atoms):
    ...     if len(atoms) == 1:
    ...         raise FrameFailed("there is one atom only")
    ...     return {"height": np.ptp(atoms.positions[:, 2])}
    >>> over_frames([Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]), Atoms("N")], height)
    ({'height': array([1.1])}, {1: 'there is one atom only'})
    """
    rows: list[Mapping[str, Any]] = []
    failures: dict[int, str] = {}
    for place, atoms in enumerate(frames):
        try:
            rows.append(label(atoms))
        except FrameFailed as failed:
            failures[place] = str(failed)
    names = rows[0] if rows else ()
    return {name: np.array([row[name] for row in rows]) for name in names}, failures
