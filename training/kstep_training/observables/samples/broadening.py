r"""Sticks of excitations broadened to a spectrum on a grid of energies.

A stick of strength f becomes a line whose area is f, so that a spectrum in 1/eV has the sum of the
strengths as its area. Lines are Lorentzians (the life of the core hole), Gaussians (the resolution)
or their convolution, a Voigt profile. Above the ionization energy the Gaussian width may grow up to
a largest one: there is a continuum, in which a finite basis has a few discrete states instead,
whose energies and strengths depend on the basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Broadening", "broaden", "energy_grid"]

Array = npt.NDArray[np.float64]

_SIGMA: Final = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""


@dataclass(frozen=True)
class Broadening:
    """Widths of lines.

    Attributes
    ----------
    gaussian, lorentzian : float
        Full widths at half maximum, eV; one may be 0.
    growth : float
        By which the Gaussian width grows for each eV above ``edge``.
    edge : float
        eV.
    widest : float
        Gaussian width from which on it grows no more, eV.

    Raises
    ------
    ValueError
        If a width is negative or both are 0.

    Examples
    --------
    >>> Broadening(gaussian=0.5, lorentzian=0.2)
    Broadening(gaussian=0.5, lorentzian=0.2, growth=0.0, edge=0.0, widest=inf)
    """

    gaussian: float = 0.8
    lorentzian: float = 0.0
    growth: float = 0.0
    edge: float = 0.0
    widest: float = np.inf

    def __post_init__(self) -> None:
        for name in ("gaussian", "lorentzian", "growth"):
            value = getattr(self, name)
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} is {value}, expected a number from 0")
        if not np.isfinite(self.edge):
            raise ValueError(f"edge is {self.edge}, expected an energy in eV")
        if not self.widest >= self.gaussian:
            raise ValueError(
                f"widest is {self.widest}, expected at least the width below the edge, "
                f"{self.gaussian} eV"
            )
        if not self.gaussian and not self.lorentzian:
            raise ValueError("gaussian and lorentzian are both 0, expected a width of lines in eV")

    @property
    def smallest_deviation(self) -> float:
        """Standard deviation of a Gaussian as wide at half maximum as the narrowest lines, eV.

        Olivero and Longbothum, doi:10.1016/0022-4073(77)90161-3: good to 0.02 %.

        Examples
        --------
        >>> round(Broadening(gaussian=0.8).smallest_deviation, 4)
        0.3397
        """
        root = np.sqrt(0.2166 * self.lorentzian**2 + self.gaussian**2)
        return float((0.5346 * self.lorentzian + root) / _SIGMA)

    def gaussian_at(self, energies: npt.ArrayLike) -> Array:
        """Full widths at half maximum of the Gaussian part of lines at some energies, eV.

        Examples
        --------
        >>> Broadening(gaussian=1.0, growth=0.5, edge=4.0, widest=2.5).gaussian_at([3.0, 5.0, 9.0])
        array([1. , 1.5, 2.5])
        """
        above = np.maximum(np.asarray(energies, dtype=float) - self.edge, 0.0)
        widths: Array = np.minimum(self.gaussian + self.growth * above, self.widest)
        return widths


def energy_grid(start: float, stop: float, spacing: float) -> Array:
    """Energies from ``start`` to ``stop``, both among them, at most ``spacing`` apart; eV.

    Raises
    ------
    ValueError
        If they do not rise, or the spacing is not positive.

    Examples
    --------
    >>> energy_grid(280.0, 281.0, 0.5)
    array([280. , 280.5, 281. ])
    """
    if not (np.isfinite([start, stop]).all() and start < stop and 0.0 < spacing < np.inf):
        raise ValueError(
            f"a grid from {start} to {stop} eV by {spacing} eV was asked for, expected rising "
            "energies and a positive spacing"
        )
    return np.linspace(start, stop, 1 + max(1, round((stop - start) / spacing)))


def broaden(
    energies: npt.ArrayLike,
    strengths: npt.ArrayLike,
    grid: npt.ArrayLike,
    lines: Broadening | None = None,
) -> Array:
    """Spectra of sticks, in 1/eV.

    Parameters
    ----------
    energies : (..., n) array
        eV.
    strengths : (..., n) or (..., n, A) array
        Of all absorbers together, or those of each.
    grid : (E,) array
        eV.
    lines : Broadening, optional

    Returns
    -------
    (..., E) or (..., A, E) array

    Examples
    --------
    A line of strength 0.1, whose area is found again:

    >>> grid = energy_grid(270.0, 290.0, 0.1)
    >>> spectrum = broaden([280.0], [0.1], grid, Broadening(gaussian=1.0))
    >>> round(float(np.trapezoid(spectrum, grid)), 9)
    0.1
    """
    lines = lines or Broadening()
    e, f = np.asarray(energies, dtype=float), np.asarray(strengths, dtype=float)
    profiles = _profiles(e, np.asarray(grid, dtype=float), lines)
    each = f if f.ndim > e.ndim else f[..., None]
    spectra: Array = np.einsum("...na,...ne->...ae", each, profiles)
    return spectra if f.ndim > e.ndim else spectra[..., 0, :]


def _profiles(energies: Array, grid: Array, lines: Broadening) -> Array:
    """Lines of unit area, (..., n, E)."""
    offset = grid - energies[..., None]
    half, sigma = lines.lorentzian / 2.0, lines.gaussian_at(energies)[..., None] / _SIGMA
    found: Array
    if lines.lorentzian:
        from scipy.special import voigt_profile

        found = voigt_profile(offset, np.broadcast_to(sigma, offset.shape), half)
    else:
        found = np.exp(-0.5 * (offset / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
    return found
