"""Errors of single jumps: landed structures against those of the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths

__all__ = [
    "InternalError",
    "JumpErrors",
    "Landings",
    "jump_errors",
    "mean_structure_errors",
]

Array = NDArray[np.float64]

_DEGREES = float(np.degrees(1.0))
RIGID = 1e-3
"""angstrom or radians: a smaller thermal standard deviation is that of a constraint."""


@dataclass(frozen=True)
class Landings:
    """Landings of W jumps of one molecule, and the reference at the same times.

    Attributes
    ----------
    numbers : (N,) array_like
        Atomic numbers.
    bonds : (B, 2) array_like of int
    angles : (A, 3) array_like of int
        The middle atom in the middle.
    positions, velocities : (W, N, 3) array_like
        Angstrom, and any unit of velocity.
    reference_positions, reference_velocities : (W, N, 3) array_like
    thermal_positions, thermal_velocities : (F, N, 3) array_like
        Frames of the reference, without net momentum, that say how much each quantity varies.

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
    >>> len(landings.positions)
    8
    """

    numbers: ArrayLike
    bonds: ArrayLike
    angles: ArrayLike
    positions: ArrayLike
    velocities: ArrayLike
    reference_positions: ArrayLike
    reference_velocities: ArrayLike
    thermal_positions: ArrayLike
    thermal_velocities: ArrayLike


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
    checked = [_checked(one) for one in landings]
    squares = [
        ((one.positions - one.reference_positions) ** 2).sum(axis=2).ravel() for one in checked
    ]
    return JumpErrors(
        bonds=_internal(checked, "bonds", bond_lengths, 1.0),
        angles=_internal(checked, "angles", bond_angles, _DEGREES),
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
        _checked(
            replace(
                one,
                positions=one.reference_positions,
                velocities=np.zeros_like(np.asarray(one.reference_velocities)),
            )
        )
        for one in landings
    ]
    return JumpErrors(
        bonds=_internal(still, "bonds", bond_lengths, 1.0, mean=True),
        angles=_internal(still, "angles", bond_angles, _DEGREES, mean=True),
        velocities=_velocities(still),
        positions=None,
        jumps=sum(len(one.positions) for one in still),
    )


@dataclass(frozen=True)
class _Checked:
    symbols: list[str]
    bonds: NDArray[np.int64]
    angles: NDArray[np.int64]
    positions: Array
    velocities: Array
    reference_positions: Array
    reference_velocities: Array
    thermal_positions: Array
    thermal_velocities: Array


def _checked(one: Landings) -> _Checked:
    symbols = [chemical_symbols[int(z)] for z in np.asarray(one.numbers)]
    arrays: dict[str, Array] = {}
    for part in ("", "reference_", "thermal_"):
        for quantity in ("positions", "velocities"):
            name = f"{part}{quantity}"
            value = arrays[name] = np.asarray(getattr(one, name), dtype=np.float64)
            like = arrays["positions" if part != "thermal_" else "thermal_positions"]
            shape = (len(like), len(symbols), 3)
            if value.shape != shape or not value.size:
                raise ValueError(f"{name} has shape {value.shape}; expected {shape}, not empty")
            if not np.isfinite(value).all():
                raise ValueError(
                    f"{name} has numbers that are not finite; leave out jumps that failed, and "
                    "count them"
                )
    return _Checked(
        symbols,
        np.asarray(one.bonds, dtype=np.int64).reshape(-1, 2),
        np.asarray(one.angles, dtype=np.int64).reshape(-1, 3),
        **arrays,
    )


def _internal(
    landings: list[_Checked],
    kind: str,
    measure: Callable[[Array, Array], Array],
    unit: float,
    mean: bool = False,
) -> dict[str, InternalError]:
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


def _type(symbols: list[str]) -> str:
    """Name of a bond or angle type, the same for both directions."""
    return "-".join(min(symbols, symbols[::-1]))


def _velocities(landings: list[_Checked]) -> dict[str, float]:
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


def _rms(values: list[Array]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(values) ** 2)))
