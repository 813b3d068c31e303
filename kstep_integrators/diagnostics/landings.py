"""Landings of jumps beside their reference, and their arrays as errors are made from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

__all__ = ["CheckedLandings", "Landings", "checked_landings"]

Array = NDArray[np.float64]


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
class CheckedLandings:
    """Landings as arrays whose shapes belong together and whose numbers are finite.

    Attributes
    ----------
    symbols : list of str
        Of the N atoms.
    bonds : (B, 2) array
    angles : (A, 3) array
    positions, velocities, reference_positions, reference_velocities : (W, N, 3) array
    thermal_positions, thermal_velocities : (F, N, 3) array
    """

    symbols: list[str]
    bonds: NDArray[np.int64]
    angles: NDArray[np.int64]
    positions: Array
    velocities: Array
    reference_positions: Array
    reference_velocities: Array
    thermal_positions: Array
    thermal_velocities: Array


def checked_landings(one: Landings) -> CheckedLandings:
    """Landings as arrays.

    Raises
    ------
    ValueError
        If shapes do not belong together, or a number is not finite.
    """
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
    return CheckedLandings(
        symbols,
        np.asarray(one.bonds, dtype=np.int64).reshape(-1, 2),
        np.asarray(one.angles, dtype=np.int64).reshape(-1, 3),
        **arrays,
    )
