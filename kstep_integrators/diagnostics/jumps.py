"""Errors of single jumps: landed structures against those of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kstep_integrators.diagnostics.internal_errors import InternalError, internal_errors
from kstep_integrators.diagnostics.landings import CheckedLandings, Landings, checked_landings

__all__ = [
    "InternalError",
    "JumpErrors",
    "Landings",
    "jump_errors",
    "mean_structure_errors",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JumpErrors:
    """Errors of landed structures.

    Attributes
    ----------
    bonds, angles : dict of str to InternalError
        Of each type, such as ``"C-H"`` and ``"H-C-O"``, and of ``"all"`` that are not of fixed
        length.
    velocities : dict of str to float
        Root mean square error of the velocities of each element over the root mean square of its
        thermal velocities: 1 for a landing without motion. ``"all"``: over all atoms, each in
        those of its element.
    positions : float or None
        Root mean square distance from the reference over all atoms, angstrom. None for the mean
        structure, which has no positions.
    jumps : int

    Examples
    --------
    >>> bond = InternalError(rmse=0.01, thermal=0.25, deviation=0.04, count=1)
    >>> errors = JumpErrors({"F-H": bond}, {}, {"F": 0.1, "H": 0.2}, positions=0.01, jumps=8)
    >>> errors.bonds["F-H"].thermal
    0.25
    """

    bonds: dict[str, InternalError]
    angles: dict[str, InternalError]
    velocities: dict[str, float]
    positions: float | None
    jumps: int


def jump_errors(landings: Sequence[Landings]) -> JumpErrors:
    """Errors of landed structures, over all molecules, type by type.

    Every jump of every molecule counts the same, and so does every member of a type in it.

    Parameters
    ----------
    landings : sequence of Landings
        One for each molecule.

    Raises
    ------
    ValueError
        If there are none, shapes do not belong together, or a number is not finite (count jumps
        that failed, and leave them out).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> thermal = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]) + rng.normal(0.0, 0.05, (50, 2, 3))
    >>> velocities = rng.normal(0.0, 0.01, (50, 2, 3))
    >>> landings = Landings(
    ...     numbers=[1, 9], bonds=[[0, 1]], angles=[],
    ...     positions=thermal[:8], velocities=velocities[:8],
    ...     reference_positions=thermal[:8], reference_velocities=velocities[:8],
    ...     thermal_positions=thermal, thermal_velocities=velocities,
    ... )
    >>> jump_errors([landings]).positions  # landed on the reference
    0.0
    """
    if not landings:
        raise ValueError("no landings; expected those of at least one molecule")
    checked = [checked_landings(one) for one in landings]
    squares = [
        ((one.positions - one.reference_positions) ** 2).sum(axis=2).ravel() for one in checked
    ]
    return JumpErrors(
        bonds=internal_errors(checked, "bonds"),
        angles=internal_errors(checked, "angles"),
        velocities=_velocities(checked),
        positions=float(np.sqrt(np.concatenate(squares).mean())),
        jumps=sum(len(one.positions) for one in checked),
    )


def mean_structure_errors(landings: Sequence[Landings]) -> JumpErrors:
    """Errors of the mean structure without motion, a guess that knows nothing of the start.

    Every bond and angle has its own mean over the thermal frames. Errors in thermal standard
    deviations are close to 1, and differ from it by how typical the landings are.

    Parameters
    ----------
    landings : sequence of Landings
        The landings of the jumps are not looked at.

    Raises
    ------
    ValueError
        As :func:`jump_errors`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> thermal = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]) + rng.normal(0.0, 0.05, (50, 2, 3))
    >>> velocities = rng.normal(0.0, 0.01, (50, 2, 3))
    >>> landings = Landings(
    ...     numbers=[1, 9], bonds=[[0, 1]], angles=[],
    ...     positions=thermal[:8], velocities=velocities[:8],
    ...     reference_positions=thermal[:8], reference_velocities=velocities[:8],
    ...     thermal_positions=thermal, thermal_velocities=velocities,
    ... )
    >>> errors = mean_structure_errors([landings])
    >>> 0.5 < errors.bonds["F-H"].thermal < 1.5
    True
    """
    if not landings:
        raise ValueError("no landings; expected those of at least one molecule")
    still = [
        checked_landings(
            replace(
                one,
                positions=one.reference_positions,
                velocities=np.zeros_like(np.asarray(one.reference_velocities)),
            )
        )
        for one in landings
    ]
    return JumpErrors(
        bonds=internal_errors(still, "bonds", mean=True),
        angles=internal_errors(still, "angles", mean=True),
        velocities=_velocities(still),
        positions=None,
        jumps=sum(len(one.positions) for one in still),
    )


def _velocities(landings: list[CheckedLandings]) -> dict[str, float]:
    errors: dict[str, list[Array]] = {}
    thermal: dict[str, list[Array]] = {}
    for one in landings:
        squares = ((one.velocities - one.reference_velocities) ** 2).sum(axis=2)
        heat = (one.thermal_velocities**2).sum(axis=2).mean(axis=0)
        for i, symbol in enumerate(one.symbols):
            errors.setdefault(symbol, []).append(squares[:, i])
            thermal.setdefault(symbol, []).append(np.full(len(squares), heat[i]))
    relative = {
        symbol: np.concatenate(errors[symbol]) / np.concatenate(thermal[symbol]).mean()
        for symbol in sorted(errors)
    }
    by_element = {symbol: float(np.sqrt(value.mean())) for symbol, value in relative.items()}
    by_element["all"] = float(np.sqrt(np.concatenate([*relative.values()]).mean()))
    return by_element
