"""Self-diffusion coefficients, their errors, and what a small cell takes from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.displacement import mean_square_displacement
from kstep_integrators.units import GPA, KB, PS

__all__ = ["Diffusion", "finite_size_correction", "self_diffusion"]

Array = NDArray[np.float64]

CUBIC = 2.837297
"""Of the self-interaction of a cubic lattice, in units of 1/length."""


@dataclass(frozen=True)
class Diffusion:
    """Self-diffusion coefficient.

    Attributes
    ----------
    coefficient, error : float
        Angstrom^2/ps; the error is the standard error over the blocks.
    blocks : int
        Parts of runs that were taken as independent.

    Examples
    --------
    >>> water = Diffusion(coefficient=0.23, error=0.01, blocks=10)
    >>> f"{water.cm2_per_s:.2e}"
    '2.30e-05'
    """

    coefficient: float
    error: float
    blocks: int

    @property
    def cm2_per_s(self) -> float:
        """The coefficient in cm^2/s."""
        return 1e-4 * self.coefficient


def self_diffusion(
    positions: ArrayLike,
    interval: float,
    start: float,
    end: float,
    blocks: int = 10,
    axes: Sequence[int] = (0, 1, 2),
) -> Diffusion:
    r"""Self-diffusion coefficient from a straight line through the mean-square displacement.

    :math:`\langle |x(t) - x(0)|^2 \rangle = c + 2 d D t` (Einstein, doi:10.1002/andp.19053220806)
    in d directions, fitted between ``start`` and ``end`` in each block of the runs, so that the
    coefficients of the blocks are independent if the blocks are longer than the memory of the
    velocities: the result is their mean, and the error the standard error of that. The lags of one
    block, and atoms that push each other, are not independent; nothing is assumed of them.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3), or (R, F, N, 3) for several runs; angstrom, unwrapped and without drift
        (:func:`~kstep_integrators.diagnostics.unwrap_positions`,
        :func:`~kstep_integrators.diagnostics.remove_drift`).
    interval : float
        Between frames, ASE time units.
    start, end : float
        Lags of the fit, ASE time units. The start is behind the ballistic and the caged motion,
        where the line is straight; the end within a block.
    blocks : int
        Parts of equal length that each run is cut into; 1 takes whole runs.
    axes : sequence of int
        Cartesian directions that count; of a slab, those in its plane.

    Raises
    ------
    ValueError
        If the shape is another, there are fewer than two blocks in all, or the window has fewer
        than two lags or does not fit into a block.

    Examples
    --------
    >>> import numpy as np
    >>> steps = np.random.default_rng(0).normal(0.0, np.sqrt(2.0 * 0.5), (4000, 20, 3))
    >>> walk = np.cumsum(steps, axis=0)  # D is 0.5 angstrom^2 in each interval, of 1 ps
    >>> found = self_diffusion(walk, interval=PS, start=2 * PS, end=20 * PS)
    >>> abs(found.coefficient - 0.5) < 3 * found.error
    True
    """
    x = np.asarray(positions, dtype=np.float64)
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(
            f"positions have shape {np.shape(positions)}; expected (F, N, 3), or (R, F, N, 3) of "
            "several runs"
        )
    if blocks < 1 or blocks * len(x) < 2:
        raise ValueError(
            f"{blocks} blocks in each of {len(x)} runs; an error needs two blocks or more"
        )
    if not interval > 0.0:
        raise ValueError(f"interval is {interval}, expected a positive time")
    length = x.shape[1] // blocks
    lags = np.arange(length)
    window = (lags * interval >= start * (1 - 1e-9)) & (lags * interval <= end * (1 + 1e-9))
    if not start >= 0.0 or not end <= (length - 1) * interval * (1 + 1e-9) or window.sum() < 2:
        raise ValueError(
            f"the fit from {start / PS:g} to {end / PS:g} ps has {int(window.sum())} lags in "
            f"blocks of {max(length - 1, 0) * interval / PS:g} ps; expected two or more, within a "
            "block: take longer runs, fewer blocks or another window"
        )
    time = lags[window] * interval / PS
    slopes = [
        np.polyfit(time, mean_square_displacement(part, axes)[window], 1)[0]
        for run in x
        for part in np.split(run[: length * blocks], blocks)
    ]
    each = np.asarray(slopes) / (2.0 * len(axes))
    error = float(each.std(ddof=1) / math.sqrt(len(each)))
    return Diffusion(float(each.mean()), error, len(each))


def finite_size_correction(temperature_K: float, viscosity: float, length: float) -> float:
    r"""Part of the self-diffusion coefficient of a fluid that a periodic cell holds back.

    :math:`D_\infty - D_L = \xi k_B T / (6 \pi \eta L)` with :math:`\xi = 2.837297`: an atom drags
    the fluid around its images along, and they it (Yeh & Hummer, doi:10.1021/jp0477147). Of a
    cubic cell that is periodic in all directions, at no net momentum; other shapes have other
    constants, and slabs another law.

    Parameters
    ----------
    temperature_K : float
    viscosity : float
        Shear viscosity of the simulated fluid, Pa s. It hardly depends on the size of the cell;
        that of an experiment stands in where the model is close to it.
    length : float
        Edge of the cubic cell, angstrom.

    Returns
    -------
    float
        Angstrom^2/ps, to be added to the coefficient that was found.

    Raises
    ------
    ValueError
        If a value is not positive.

    Examples
    --------
    >>> round(finite_size_correction(300.0, viscosity=0.85e-3, length=18.6), 4)  # 216 waters
    0.0394
    """
    for name, value in (
        ("temperature_K", temperature_K),
        ("viscosity", viscosity),
        ("length", length),
    ):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} is {value}, expected a positive number")
    pascal_second = 1e-9 * GPA * 1e12 * PS
    in_ase_units = CUBIC * KB * temperature_K / (6.0 * np.pi * viscosity * pascal_second * length)
    return float(in_ase_units * PS)
