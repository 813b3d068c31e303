"""Mass density of a periodic system, as a whole and along the normal of a slab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.units import G_PER_CM3

__all__ = ["DensityProfile", "density_profile", "mass_density"]

Array = NDArray[np.float64]


def mass_density(masses: ArrayLike, cell: ArrayLike) -> Array:
    """Mass over the volume of a cell.

    Parameters
    ----------
    masses : array_like
        Shape (N,), u.
    cell : array_like
        Shape (..., 3, 3), angstrom: one cell, or that of each frame.

    Returns
    -------
    numpy.ndarray
        Shape (...), g/cm^3.

    Raises
    ------
    ValueError
        If the cell has no volume or another shape.

    Examples
    --------
    >>> from ase.build import bulk
    >>> copper = bulk("Cu", a=3.61)
    >>> round(float(mass_density(copper.get_masses(), copper.cell[:])), 2)
    8.97
    """
    box = np.asarray(cell, dtype=np.float64)
    if box.shape[-2:] != (3, 3) or not (np.abs(np.linalg.det(box)) > 0.0).all():
        raise ValueError(f"the cell is {box.tolist()}; a density needs a cell (3, 3) with a volume")
    total = np.asarray(masses, dtype=np.float64).sum()
    return np.asarray(total / np.abs(np.linalg.det(box)) / G_PER_CM3)


@dataclass(frozen=True)
class DensityProfile:
    """Mass density along the normal of a plane.

    Attributes
    ----------
    heights : (K,)
        Middles of the layers, angstrom.
    density : (K,)
        g/cm^3.

    Examples
    --------
    >>> import numpy as np
    >>> layer = np.array([[1.0, 1.0, 0.5], [3.0, 3.0, 0.5]])
    >>> found = density_profile(layer, [12.0, 12.0], 4.0 * np.eye(3), limits=(0.0, 2.0), bins=2)
    >>> found.heights.tolist(), found.density.round(3).tolist()
    ([0.5, 1.5], [2.491, 0.0])
    """

    heights: Array
    density: Array


def density_profile(
    positions: ArrayLike,
    masses: ArrayLike,
    cell: ArrayLike,
    limits: tuple[float, float],
    bins: int = 100,
    axis: int = 2,
) -> DensityProfile:
    """Mass density in layers along the normal of a slab, averaged over frames.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom. Along the normal they are taken as they are.
    masses : array_like
        Shape (N,), u.
    cell : array_like
        Shape (3, 3), angstrom. The vectors other than that of ``axis`` span the slab; that one is
        not looked at.
    limits : (float, float)
        Lowest and highest height, angstrom, along the normal from the origin.
    bins : int
    axis : int
        Of the cell vector that is not in the plane of the slab.

    Raises
    ------
    ValueError
        If shapes do not fit, the two vectors span no area, or there is no layer.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import fcc111
    >>> slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    >>> found = density_profile(
    ...     slab.positions, slab.get_masses(), slab.cell[:], (0.0, 20.0), bins=40
    ... )
    >>> np.flatnonzero(found.density).tolist()
    [16, 20, 24]
    """
    x = np.asarray(positions, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    m, box = np.asarray(masses, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    if x.ndim != 3 or m.shape != x.shape[1:2] or x.shape[2:] != (3,) or box.shape != (3, 3):
        raise ValueError(
            f"positions, masses and cell have shapes {np.shape(positions)}, {m.shape} and "
            f"{box.shape}; expected (F, N, 3), (N,) and (3, 3)"
        )
    if axis not in (0, 1, 2) or bins < 1 or not limits[0] < limits[1]:
        raise ValueError(
            f"axis is {axis}, bins {bins} and limits {limits}; expected 0, 1 or 2, a positive "
            "number, and the lower limit first"
        )
    normal = np.cross(box[(axis + 1) % 3], box[(axis + 2) % 3])
    area = float(np.linalg.norm(normal))
    if not area > 0.0:
        raise ValueError(
            f"the cell is {box.tolist()}; its vectors other than number {axis} span no area"
        )
    heights = x @ (normal / area)
    edges = np.linspace(*limits, bins + 1)
    weights = np.broadcast_to(m, heights.shape)
    mass, _ = np.histogram(heights, edges, weights=weights)
    density = mass / (len(x) * area * np.diff(edges) * G_PER_CM3)
    return DensityProfile(0.5 * (edges[1:] + edges[:-1]), density)
