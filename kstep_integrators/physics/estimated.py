"""The note of frames whose energies and forces are estimates: what no reader takes for computed."""

from __future__ import annotations

from ase import Atoms

__all__ = ["ESTIMATED", "is_estimated", "note_estimates"]

ESTIMATED = "estimated"
"""Entry of ``atoms.info`` that names what has not been computed there."""


def note_estimates(atoms: Atoms, estimated: bool) -> None:
    """Note in ``atoms.info`` that energy and forces are estimates; or take that note away."""
    if estimated:
        atoms.info[ESTIMATED] = "energy, forces"
    else:
        atoms.info.pop(ESTIMATED, None)


def is_estimated(atoms: Atoms) -> bool:
    """True if energy and forces that are kept with a frame are estimates, by its note.

    Examples
    --------
    >>> frame = Atoms("He")
    >>> note_estimates(frame, True)
    >>> is_estimated(frame)
    True
    """
    return bool(atoms.info.get(ESTIMATED))
