"""Numbers that say whether a trajectory is any good: arrays in, numbers out.

Everything is in ASE units: positions in angstrom, momenta in u * angstrom / time, energies in eV,
and time in angstrom * sqrt(u / eV). Only results meant for reading are in other units, and say so.
"""

from kstep_integrators.diagnostics.distributions import Comparison, compare_runs
from kstep_integrators.diagnostics.energy import EnergyDrift, energy_drift, kinetic_energy
from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths, dihedral_angles
from kstep_integrators.diagnostics.jumps import (
    InternalError,
    JumpErrors,
    Landings,
    jump_errors,
    mean_structure_errors,
)
from kstep_integrators.diagnostics.residuals import residual_rms
from kstep_integrators.diagnostics.sampling import (
    Correlation,
    autocorrelation,
    block_error,
    correlation,
    on_circle,
)
from kstep_integrators.diagnostics.spectra import (
    Spectrum,
    peak_shift,
    spectral_overlap,
    spectral_peaks,
    vibrational_density,
)
from kstep_integrators.diagnostics.temperature import temperature_per_element

__all__ = [
    "Comparison",
    "Correlation",
    "EnergyDrift",
    "InternalError",
    "JumpErrors",
    "Landings",
    "Spectrum",
    "autocorrelation",
    "block_error",
    "bond_angles",
    "bond_lengths",
    "compare_runs",
    "correlation",
    "dihedral_angles",
    "energy_drift",
    "jump_errors",
    "kinetic_energy",
    "mean_structure_errors",
    "on_circle",
    "peak_shift",
    "residual_rms",
    "spectral_overlap",
    "spectral_peaks",
    "temperature_per_element",
    "vibrational_density",
]
