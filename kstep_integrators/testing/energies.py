"""Energies of thermostatted replicas, and the checks of physical_validation on them.

Merz & Shirts, doi:10.1371/journal.pone.0202764.
"""

from __future__ import annotations

import dataclasses
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
    "npt_checks",
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
    volume : (frames, replicas), optional
        angstrom^3, of runs at constant pressure.
    pressure : float, optional
        eV/angstrom^3.

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
    volume: Array | None = None
    pressure: float | None = None

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
    temperature: float,
    atoms: int,
    degrees: int,
    kinetic: Array,
    potential: Array | None = None,
    volume: Array | None = None,
    pressure: float | None = None,
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
    volume : array, angstrom^3, optional
    pressure : float, optional
        eV/angstrom^3. The ensemble is isobaric with both, and canonical without.

    Raises
    ------
    ImportError
        If physical_validation is not installed.
    """
    data = _package().data
    # It wants the lost degrees of freedom apart, and all that counts is their sum.
    lost = 3 * atoms - degrees
    common = {"natoms": atoms, "temperature": temperature}
    ensemble = (
        data.EnsembleData("NVT", volume=1.0, **common)
        if pressure is None
        else data.EnsembleData("NPT", pressure=pressure, **common)
    )
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
            pressure_str="eV/A^3",
            pressure_conversion=1e4 / units.GPA,
            time_str="ps",
            time_conversion=1.0,
        ),
        ensemble=ensemble,
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
            volume=None if volume is None else volume.ravel(),
        ),
    )


def _data(samples: Samples, inner: bool = False, off: float = 1.0) -> Any:
    """All frames of all replicas; ``off`` multiplies temperature and pressure as declared."""
    return simulation_data(
        off * samples.temperature_K,
        samples.atoms,
        samples.degrees,
        samples.kinetic,
        samples.inner if inner else samples.potential,
        samples.volume,
        None if samples.pressure is None else off * samples.pressure,
    )


def suggested_temperature(samples: Samples) -> float:
    """The second temperature of an ensemble check, K."""
    interval = _package().ensemble.estimate_interval(
        _data(samples), verbosity=0, data_is_uncorrelated=True
    )
    return samples.temperature_K + round(float(interval["dT"]))


def kinetic_checks(
    samples: Samples, off: float = 1.0, correlated: bool = False
) -> dict[str, float]:
    """P-value of the whole distribution, and deviations of mean and width in standard errors.

    Of ``correlated`` frames, those of one chain, the checks take as many as are independent.
    """
    check, data = _package().kinetic_energy.distribution, _data(samples, off=off)
    common = {"verbosity": 0, "data_is_uncorrelated": not correlated}
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


def npt_checks(one: Samples, other: Samples, off: float = 1.0) -> list[float]:
    """Standard errors between ln P1/P2 of two isobaric chains and the slopes that it has to have.

    By the enthalpy for two temperatures at one pressure, by the volume for two pressures at one
    temperature, by energy and volume at once where both differ. The checks take as many frames of
    the chains as are independent.

    Parameters
    ----------
    one, other : Samples
        With volumes and pressures.
    off : float
        Factor of what is declared wrong of the second: of its temperature where they differ, and
        else of its pressure.

    Raises
    ------
    ValueError
        If one has no volume or no pressure.
    """
    for samples in (one, other):
        if samples.volume is None or samples.pressure is None:
            raise ValueError(
                f"samples at {samples.temperature_K} K have no volume or no pressure, which an "
                "isobaric ensemble has: Samples(..., volume=..., pressure=...)"
            )
    hotter = one.temperature_K != other.temperature_K
    second = dataclasses.replace(
        other,
        temperature_K=other.temperature_K * (off if hotter else 1.0),
        pressure=(other.pressure or 0.0) * (1.0 if hotter else off),
    )
    quantiles = _package().ensemble.check(
        _data(one), _data(second), verbosity=0, data_is_uncorrelated=False
    )
    return [float(quantile) for quantile in quantiles]
