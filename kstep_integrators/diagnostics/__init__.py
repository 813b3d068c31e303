"""Measures of the quality of a trajectory: arrays in, numbers out.

Everything is in ASE units: positions in angstrom, momenta in u * angstrom / time, energies in eV,
and time in angstrom * sqrt(u / eV). Only results meant for reading are in other units, and say so.
"""

from kstep_integrators.diagnostics.cost import Cost, cost_per_ps
from kstep_integrators.diagnostics.distributions import (
    Comparison,
    CurveComparison,
    compare_curves,
    compare_runs,
)
from kstep_integrators.diagnostics.energy import EnergyDrift, energy_drift, kinetic_energy
from kstep_integrators.diagnostics.geometry import (
    bond_angles,
    bond_lengths,
    dihedral_angles,
    distance_between,
)
from kstep_integrators.diagnostics.independence import Alignment, momentum_alignment
from kstep_integrators.diagnostics.jumps import (
    InternalError,
    JumpErrors,
    Landings,
    jump_errors,
    mean_structure_errors,
)
from kstep_integrators.diagnostics.kinetics import (
    Flips,
    torsion_flips,
    torsion_wells,
    velocity_autocorrelation,
    well_changes,
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
from kstep_integrators.diagnostics.structure import RadialDistribution, radial_distribution
from kstep_integrators.diagnostics.temperature import temperature_per_element

__all__ = [
    "Alignment",
    "Comparison",
    "Correlation",
    "Cost",
    "CurveComparison",
    "EnergyDrift",
    "Flips",
    "InternalError",
    "JumpErrors",
    "Landings",
    "RadialDistribution",
    "Spectrum",
    "autocorrelation",
    "block_error",
    "bond_angles",
    "bond_lengths",
    "compare_curves",
    "compare_runs",
    "correlation",
    "cost_per_ps",
    "dihedral_angles",
    "distance_between",
    "energy_drift",
    "jump_errors",
    "kinetic_energy",
    "mean_structure_errors",
    "momentum_alignment",
    "on_circle",
    "peak_shift",
    "radial_distribution",
    "residual_rms",
    "spectral_overlap",
    "spectral_peaks",
    "temperature_per_element",
    "torsion_flips",
    "torsion_wells",
    "velocity_autocorrelation",
    "vibrational_density",
    "well_changes",
]
