"""Errors of bond lengths and angles, type by type, in thermal standard deviations too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths
from kstep_integrators.diagnostics.landings import CheckedLandings

__all__ = ["RIGID", "InternalError", "internal_errors"]

Array = NDArray[np.float64]

RIGID = 1e-3
"""angstrom or radians: a smaller thermal standard deviation is that of a constraint."""


@dataclass(frozen=True)
class InternalError:
    """Error of the bonds or angles of one type, or of all.

    Attributes
    ----------
    rmse : float
        Root mean square error, angstrom or degrees.
    thermal : float or None
        The same in thermal standard deviations; of all types: root mean square of the errors, each
        in those of its type. None for bonds of fixed length.
    deviation : float or None
        Thermal standard deviation of the type, angstrom or degrees: the root mean square over its
        members, each about its own mean. None of all types.
    count : int
        Members in the molecules, such as C-H bonds.

    Examples
    --------
    >>> error = InternalError(rmse=0.01, thermal=0.25, deviation=0.04, count=3)
    >>> error.rmse / error.deviation
    0.25
    """

    rmse: float
    thermal: float | None
    deviation: float | None
    count: int


def internal_errors(
    landings: Sequence[CheckedLandings], kind: Literal["bonds", "angles"], mean: bool = False
) -> dict[str, InternalError]:
    """Errors of the bonds or angles of each type, and of all that are not of fixed length.

    Parameters
    ----------
    landings : sequence of CheckedLandings
    kind : str
        ``"bonds"``, in angstrom, or ``"angles"``, in degrees.
    mean : bool
        In place of what has landed, the mean of each member over the thermal frames.

    Returns
    -------
    dict of str to InternalError
        By types such as ``"C-H"``, and ``"all"``.
    """
    measure, unit = _MEASURES[kind]
    errors: dict[str, list[Array]] = {}
    variances: dict[str, list[Array]] = {}
    counts: dict[str, int] = {}
    for one in landings:
        members = getattr(one, kind)
        thermal_values = measure(one.thermal_positions, members)
        landed = thermal_values.mean(axis=0) if mean else measure(one.positions, members)
        error = landed - measure(one.reference_positions, members)
        variance = thermal_values.var(axis=0)
        for i, member in enumerate(members):
            name = _type([one.symbols[atom] for atom in member])
            errors.setdefault(name, []).append(error[:, i])
            # As often as there are errors, so that both means have the same weights.
            variances.setdefault(name, []).append(np.full(len(error), variance[i]))
            counts[name] = counts.get(name, 0) + 1
    by_type: dict[str, InternalError] = {}
    moving, scaled, total = [], [], 0
    for name in sorted(errors):
        error = np.concatenate(errors[name])
        deviation = float(np.sqrt(np.concatenate(variances[name]).mean()))
        rmse = float(np.sqrt(np.mean(error**2)))
        thermal = rmse / deviation if deviation > RIGID else None
        by_type[name] = InternalError(unit * rmse, thermal, unit * deviation, counts[name])
        if thermal is not None:
            moving.append(error)
            scaled.append(error / deviation)
            total += counts[name]
    if moving:
        by_type["all"] = InternalError(unit * _rms(moving), _rms(scaled), None, total)
    return by_type


_MEASURES: dict[str, tuple[Callable[[Array, Array], Array], float]] = {
    "bonds": (bond_lengths, 1.0),
    "angles": (bond_angles, float(np.degrees(1.0))),
}
"""Of positions and members, with the unit of what is measured."""


def _type(symbols: list[str]) -> str:
    """Name of a bond or angle type, the same for both directions."""
    return "-".join(min(symbols, symbols[::-1]))


def _rms(values: list[Array]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(values) ** 2)))
