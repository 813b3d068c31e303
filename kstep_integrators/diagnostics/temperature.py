"""Kinetic temperatures of the elements of a molecule."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from kstep_integrators.units import KB

__all__ = ["temperature_per_element"]


def temperature_per_element(
    momenta: ArrayLike, masses: ArrayLike, numbers: ArrayLike, degrees_of_freedom: ArrayLike
) -> dict[str, float]:
    """Kinetic temperature of each element, averaged over a trajectory.

    Loss of equipartition between elements is how integrators with long strides fail first; the
    total temperature does not show it.

    Parameters
    ----------
    momenta : array_like
        Shape (F, N, 3), ASE units.
    masses : array_like
        Shape (N,), u.
    numbers : array_like
        Shape (N,), atomic numbers.
    degrees_of_freedom : array_like
        Shape (N,) or (F, N): what each atom has, from
        :func:`kstep_integrators.mechanics.degrees_of_freedom.atomic_degrees_of_freedom`; zero for
        fixed atoms.

    Returns
    -------
    dict of str to float
        Chemical symbol to kelvin, in order of atomic number. Elements without any degree of
        freedom are left out.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.units import KB
    >>> masses = np.array([16.0, 1.0, 1.0])
    >>> momenta = np.sqrt(KB * 300.0 * masses)[None, :, None] * np.ones((1, 3, 3))
    >>> temperatures = temperature_per_element(momenta, masses, [8, 1, 1], [3.0, 3.0, 3.0])
    >>> {element: round(kelvin) for element, kelvin in temperatures.items()}
    {'H': 300, 'O': 300}
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    z = np.asarray(numbers, dtype=np.int64)
    share = np.asarray(degrees_of_freedom, dtype=np.float64)
    if p.ndim != 3 or p.shape[2] != 3 or m.shape != p.shape[1:2] or z.shape != m.shape:
        raise ValueError(
            f"momenta, masses and numbers have shapes {p.shape}, {m.shape} and {z.shape}; "
            "expected (F, N, 3), (N,) and (N,)"
        )
    if share.shape not in (m.shape, p.shape[:2]):
        raise ValueError(
            f"degrees_of_freedom has shape {share.shape}; expected {m.shape} or {p.shape[:2]}, "
            "one number for each atom (atomic_degrees_of_freedom gives them)"
        )
    twice_kinetic = np.sum(p**2, axis=2) / m
    share = np.broadcast_to(share, twice_kinetic.shape)
    temperatures: dict[str, float] = {}
    for number in np.unique(z):
        chosen = z == number
        freedom = float(share[:, chosen].sum())
        if freedom > 0.0:
            heat = float(twice_kinetic[:, chosen].sum())
            temperatures[chemical_symbols[number]] = heat / (KB * freedom)
    return temperatures
