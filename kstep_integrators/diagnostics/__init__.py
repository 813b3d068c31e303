"""Numbers that say whether a trajectory is any good: arrays in, numbers out.

Everything is in ASE units: positions in angstrom, momenta in u * angstrom / time, energies in eV,
and time in angstrom * sqrt(u / eV). Only results meant for reading are in other units, and say so.
"""

from kstep_integrators.diagnostics.energy import EnergyDrift, energy_drift, kinetic_energy
from kstep_integrators.diagnostics.geometry import bond_lengths
from kstep_integrators.diagnostics.residuals import residual_rms
from kstep_integrators.diagnostics.spectra import (
    Spectrum,
    peak_shift,
    spectral_overlap,
    spectral_peaks,
    vibrational_density,
)
from kstep_integrators.diagnostics.temperature import temperature_per_element

__all__ = [
    "EnergyDrift",
    "Spectrum",
    "bond_lengths",
    "energy_drift",
    "kinetic_energy",
    "peak_shift",
    "residual_rms",
    "spectral_overlap",
    "spectral_peaks",
    "temperature_per_element",
    "vibrational_density",
]
