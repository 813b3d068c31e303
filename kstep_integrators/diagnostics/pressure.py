"""Pressure of a periodic system from its stress and the motion of its atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["virial_pressure"]

Array = NDArray[np.float64]


def virial_pressure(stress: ArrayLike, kinetic_energy: ArrayLike, volume: ArrayLike) -> Array:
    r"""Pressure, :math:`P = 2 K / (3 V) - \mathrm{tr} \, \sigma / 3`.

    The second part is that of the forces, from the stress as ASE's calculators give it, positive
    where the cell is pulled apart, without the part of the motion. Allen & Tildesley, Computer
    Simulation of Liquids, 2nd ed., 2.4 (doi:10.1093/oso/9780198803195.001.0001).

    Parameters
    ----------
    stress : array_like
        Shape (..., 6) in the order xx, yy, zz, yz, xz, xy, or (..., 3, 3); eV/angstrom^3.
        ``atoms.get_stress(include_ideal_gas=True)`` has the motion in it already: give 0 as the
        kinetic energy then.
    kinetic_energy : array_like
        Shape (...), eV. At no net momentum the average of N atoms at a temperature is short of
        1.5 N k T by 1 part in N; multiply by N / (N - 1) where that matters.
    volume : array_like
        Shape (...), angstrom^3.

    Returns
    -------
    numpy.ndarray
        Shape (...), eV/angstrom^3: divide by ``units.BAR`` or ``units.GPA`` of
        :mod:`kstep_integrators.units`. The mean of a run with its error is that of any series
        (:func:`~kstep_integrators.diagnostics.block_error`).

    Raises
    ------
    ValueError
        If shapes do not fit, or a volume is not positive.

    Examples
    --------
    >>> from kstep_integrators.units import BAR, KB
    >>> gas = virial_pressure([0.0] * 6, kinetic_energy=1.5 * KB * 300.0, volume=41_419.5)
    >>> round(float(gas / BAR), 3)  # one atom in 24.94 l/mol
    1.0
    """
    s = np.asarray(stress, dtype=np.float64)
    kinetic, v = (np.asarray(part, dtype=np.float64) for part in (kinetic_energy, volume))
    if s.shape[-2:] == (3, 3):
        trace = np.trace(s, axis1=-2, axis2=-1)
    elif s.shape[-1:] == (6,):
        trace = s[..., :3].sum(axis=-1)
    else:
        raise ValueError(f"stress has shape {s.shape}; expected (..., 6) or (..., 3, 3)")
    if not (v > 0.0).all():
        raise ValueError(f"volume is {v.min()}, expected positive numbers, angstrom^3")
    try:
        return np.asarray(2.0 * kinetic / (3.0 * v) - trace / 3.0)
    except ValueError as error:
        raise ValueError(
            f"stress, kinetic_energy and volume are those of {trace.shape}, {kinetic.shape} and "
            f"{v.shape} frames; expected as many of each, or one"
        ) from error
