"""Numbers that say whether a trajectory is any good: arrays in, numbers out.

Everything is in ASE units: positions in angstrom, momenta in u * angstrom / time, energies in eV,
and time in angstrom * sqrt(u / eV). Only results meant for reading are in other units, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.units import KB, MEV, PS

__all__ = [
    "EnergyDrift",
    "bond_lengths",
    "energy_drift",
    "kinetic_energy",
    "residual_rms",
    "temperature_per_element",
]

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
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    return np.asarray(0.5 * np.sum(p**2 / m[:, None], axis=(-2, -1)))


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
        :func:`kstep_integrators.degrees_of_freedom.atomic_degrees_of_freedom`; zero for fixed
        atoms.

    Returns
    -------
    dict of str to float
        Chemical symbol to kelvin, in order of atomic number. Elements without any degree of
        freedom are left out.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
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


def bond_lengths(positions: ArrayLike, pairs: ArrayLike) -> Array:
    """Distances between pairs of atoms, without periodic images.

    Parameters
    ----------
    positions : array_like
        Shape (..., N, 3), angstrom.
    pairs : array_like of int
        Shape (B, 2), indices of atoms.

    Returns
    -------
    numpy.ndarray
        Shape (..., B), angstrom.
    """
    x = np.asarray(positions, dtype=np.float64)
    index = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return np.asarray(np.linalg.norm(x[..., index[:, 0], :] - x[..., index[:, 1], :], axis=-1))


def residual_rms(physics_forces: ArrayLike, potential_forces: ArrayLike) -> float:
    """Root mean square of the residual, over all force components.

    Parameters
    ----------
    physics_forces, potential_forces : array_like
        Same shape (..., N, 3), eV/angstrom, at the same geometries.

    Returns
    -------
    float
        eV/angstrom for each Cartesian component.

    Raises
    ------
    ValueError
        If the shapes differ or are empty.
    """
    physics = np.asarray(physics_forces, dtype=np.float64)
    potential = np.asarray(potential_forces, dtype=np.float64)
    if physics.shape != potential.shape or physics.size == 0:
        raise ValueError(
            f"physics_forces and potential_forces have shapes {physics.shape} and "
            f"{potential.shape}; expected the same shape with at least one atom"
        )
    return float(np.sqrt(np.mean((physics - potential) ** 2)))
