"""Energies of thermostatted replicas, and the checks of physical_validation on them.

Merz & Shirts, doi:10.1371/journal.pone.0202764.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_integrators import units

__all__ = [
    "Samples",
    "ensemble_check",
    "kinetic_checks",
    "simulation_data",
    "suggested_temperature",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Energies of replicas at one temperature, eV.

    Attributes
    ----------
    temperature_K : float
    atoms, degrees : int
        Of one replica: atoms, and degrees of freedom of its kinetic energy.
    kinetic : (frames, replicas)
    potential : (frames, replicas)
        Of the physics.
    inner : (frames, replicas)
        Of the jump's potential.

    Examples
    --------
    >>> energies = np.array([[0.1, 0.3], [0.2, 0.4], [0.1, 0.3]])
    >>> round(Samples(300.0, 3, 9, energies, energies, energies).correlation, 2)
    0.64
    """

    temperature_K: float
    atoms: int
    degrees: int
    kinetic: Array
    potential: Array
    inner: Array

    @property
    def correlation(self) -> float:
        """The largest correlation of an energy with itself one frame before."""
        deviations = [energy - energy.mean() for energy in (self.kinetic, self.potential)]
        return max(float((d[1:] * d[:-1]).mean() / np.square(d).mean()) for d in deviations)


def _package() -> Any:
    try:
        return importlib.import_module("physical_validation")
    except ImportError as error:
        raise ImportError(
            "checks of energies need physical_validation: pip install 'kstep-integrators[dev]'"
        ) from error


def simulation_data(
    temperature: float, atoms: int, degrees: int, kinetic: Array, potential: Array | None = None
) -> Any:
    """Energies in eV as physical_validation takes them.

    Parameters
    ----------
    temperature : float
        K.
    atoms, degrees : int
        Of one molecule.
    kinetic, potential : array, eV
        Of any shape.

    Raises
    ------
    ImportError
        If physical_validation is not installed.
    """
    data = _package().data
    # It wants the lost degrees of freedom apart, and all that counts is their sum.
    lost = 3 * atoms - degrees
    return data.SimulationData(
        units=data.UnitData(
            kb=units.KB,
            energy_str="eV",
            energy_conversion=1.0 / units.KJ_PER_MOL,
            length_str="A",
            length_conversion=0.1,
            volume_str="A^3",
            volume_conversion=1e-3,
            temperature_str="K",
            temperature_conversion=1.0,
            pressure_str="bar",
            pressure_conversion=1.0,
            time_str="ps",
            time_conversion=1.0,
        ),
        ensemble=data.EnsembleData("NVT", natoms=atoms, volume=1.0, temperature=temperature),
        system=data.SystemData(
            natoms=atoms,
            nconstraints=0,
            ndof_reduction_tra=min(lost, 3),
            ndof_reduction_rot=max(lost - 3, 0),
        ),
        observables=data.ObservableData(
            kinetic_energy=kinetic.ravel(),
            potential_energy=None if potential is None else potential.ravel(),
            total_energy=None if potential is None else (kinetic + potential).ravel(),
        ),
    )


def _data(samples: Samples, inner: bool = False, off: float = 1.0) -> Any:
    """All frames of all replicas; ``off`` multiplies the temperature that is declared."""
    return simulation_data(
        off * samples.temperature_K,
        samples.atoms,
        samples.degrees,
        samples.kinetic,
        samples.inner if inner else samples.potential,
    )


def suggested_temperature(samples: Samples) -> float:
    """The second temperature of an ensemble check, K."""
    interval = _package().ensemble.estimate_interval(
        _data(samples), verbosity=0, data_is_uncorrelated=True
    )
    return samples.temperature_K + round(float(interval["dT"]))


def kinetic_checks(samples: Samples, off: float = 1.0) -> dict[str, float]:
    """P-value of the whole distribution, and deviations of mean and width in standard errors."""
    check, data = _package().kinetic_energy.distribution, _data(samples, off=off)
    common = {"verbosity": 0, "data_is_uncorrelated": True}
    mean, width = check(data, strict=False, bootstrap_seed=1, **common)
    return {
        "strict_p_value": float(check(data, strict=True, **common)),
        "mean_sigma": float(mean),
        "width_sigma": float(width),
    }


def ensemble_check(
    one: Samples, other: Samples, total: bool = False, inner: bool = False, off: float = 1.0
) -> float:
    """Standard errors between ln P1(E)/P2(E) and its slope 1/kT2 - 1/kT1."""
    (quantile,) = _package().ensemble.check(
        _data(one, inner),
        _data(other, inner, off),
        total_energy=total,
        verbosity=0,
        data_is_uncorrelated=True,
    )
    return float(quantile)
