"""The correctors by name, and the one that a run asks for."""

from __future__ import annotations

from typing import Any

from kstep_integrators.correctors.base import Corrector
from kstep_integrators.correctors.filtered import Filtered
from kstep_integrators.correctors.kicks import Delta, Impulse, NoCorrection
from kstep_integrators.correctors.mollified import Mollified

__all__ = ["CORRECTORS", "make_corrector", "restore_corrector"]

CORRECTORS: dict[
    str, type[Delta] | type[Filtered] | type[Impulse] | type[Mollified] | type[NoCorrection]
] = {
    "delta": Delta,
    "filtered": Filtered,
    "impulse": Impulse,
    "mollified": Mollified,
    "none": NoCorrection,
}
"""Correctors by name."""

_WHY = {
    "delta": (
        "it has learned what velocity Verlet with the whole physical force at both ends leaves "
        "out, so that any other kick counts forces twice or not at all"
    ),
    "impulse": (
        "it integrates the forces of a potential, and a kick may hold no more than what they "
        "leave out"
    ),
    "none": "it has learned the whole motion, so that any kick counts forces twice",
}
"""Why a jump takes no others, by the first that it takes."""


def make_corrector(corrector: str | Corrector, allowed: tuple[str, ...]) -> Corrector:
    """The corrector of that name, or the one given.

    Parameters
    ----------
    corrector : str or Corrector
        A name for its defaults.
    allowed : tuple of str
        Names the jump takes.

    Raises
    ------
    ValueError
        If there is none of that name, or the jump cannot take it.
    """
    name = corrector if isinstance(corrector, str) else corrector.name
    if name not in CORRECTORS:
        raise ValueError(f"unknown corrector {name!r}; choose one of {sorted(CORRECTORS)}")
    if name not in allowed:
        why = f": {_WHY[allowed[0]]}" if allowed[0] in _WHY else ""
        raise ValueError(
            f"this jump cannot take the corrector {name!r}; it takes {list(allowed)}{why}"
        )
    return CORRECTORS[name]() if isinstance(corrector, str) else corrector


def restore_corrector(described: dict[str, Any]) -> Corrector:
    """The corrector that described itself so."""
    parameters = dict(described)
    return CORRECTORS[parameters.pop("corrector")](**parameters)
