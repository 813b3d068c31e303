"""Energies of a trajectory: kinetic energy, drift and fluctuation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.units import MEV, PS

__all__ = ["EnergyDrift", "energy_drift", "kinetic_energy"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyDrift:
    """Straight line through the total energy of a run.

    Attributes
    ----------
    drift : float
        Slope, in meV per atom per picosecond; positive when the run heats.
    fluctuation : float
        Root mean square deviation from the line, in meV per atom.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.units import MEV, PS
    >>> time = np.linspace(0.0, 2.0, 5) * PS
    >>> result = energy_drift(time, -5.0 + 0.0 * time, n_atoms=3)
    >>> result.drift, result.fluctuation
    (0.0, 0.0)
    """

    drift: float
    fluctuation: float


def energy_drift(time: ArrayLike, total_energy: ArrayLike, n_atoms: int) -> EnergyDrift:
    """Drift and fluctuation of a conserved energy, by least squares.

    Parameters
    ----------
    time : array_like
        Shape (F,), ASE time units.
    total_energy : array_like
        Shape (F,), eV, of the physics at the sampled positions.
    n_atoms : int
        Atoms that share the energy.

    Returns
    -------
    EnergyDrift

    Raises
    ------
    ValueError
        If there are fewer than three frames, the shapes differ, the times are all equal, or a
        value is not finite (a run that blew up has no drift).

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.units import MEV, PS
    >>> time = np.linspace(0.0, 2.0, 5) * PS
    >>> energy = -5.0 + 6.0 * MEV * time / PS
    >>> round(energy_drift(time, energy, n_atoms=3).drift, 6)  # meV/atom/ps
    2.0
    """
    t = np.asarray(time, dtype=np.float64)
    energy = np.asarray(total_energy, dtype=np.float64)
    if t.ndim != 1 or t.shape != energy.shape or len(t) < 3:
        raise ValueError(
            f"time and total_energy have shapes {t.shape} and {energy.shape}; a drift needs two "
            "one-dimensional arrays of the same length, at least 3 frames"
        )
    if n_atoms < 1:
        raise ValueError(f"n_atoms is {n_atoms}; expected at least 1")
    bad = np.flatnonzero(~(np.isfinite(t) & np.isfinite(energy)))
    if len(bad):
        raise ValueError(
            f"frame {bad[0]} of {len(t)} has time {t[bad[0]]} and energy {energy[bad[0]]}; "
            "expected finite numbers. Cut the trajectory before the run blew up"
        )
    # Centred, so that neither a late start nor a large energy zero costs digits.
    t = t - t.mean()
    energy = energy - energy.mean()
    spread = float(t @ t)
    if spread == 0.0:
        raise ValueError("all frames have the same time; a drift needs frames at different times")
    slope = float(t @ energy) / spread
    rms = float(np.sqrt(np.mean((energy - slope * t) ** 2)))
    return EnergyDrift(drift=slope * PS / MEV / n_atoms, fluctuation=rms / MEV / n_atoms)


def kinetic_energy(momenta: ArrayLike, masses: ArrayLike) -> Array:
    """Kinetic energy of each frame.

    Parameters
    ----------
    momenta : array_like
        Shape (..., N, 3), ASE units.
    masses : array_like
        Shape (N,), u.

    Returns
    -------
    numpy.ndarray
        Shape (...), eV.

    Examples
    --------
    >>> kinetic_energy([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]], masses=[1.0, 2.0]).item()
    3.0
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    return np.asarray(0.5 * np.sum(p**2 / m[:, None], axis=(-2, -1)))
