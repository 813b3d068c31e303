"""Measures of the quality of a trajectory: arrays in, numbers out.

Everything is in ASE units: positions in angstrom, momenta in u * angstrom / time, energies in eV,
and time in angstrom * sqrt(u / eV). Only results meant for reading are in other units, and say so.
"""

from kstep_integrators.diagnostics.coordination import (
    Coordination,
    coordination_numbers,
    running_coordination,
)
from kstep_integrators.diagnostics.cost import Cost, cost_per_ps
from kstep_integrators.diagnostics.density import (
    DensityProfile,
    density_profile,
    mass_density,
)
from kstep_integrators.diagnostics.diffusion import (
    Diffusion,
    finite_size_correction,
    self_diffusion,
)
from kstep_integrators.diagnostics.displacement import (
    mean_square_displacement,
    remove_drift,
    unwrap_positions,
)
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
from kstep_integrators.diagnostics.pressure import virial_pressure
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
from kstep_integrators.diagnostics.structure import (
    RadialDistribution,
    radial_distribution,
    radial_distributions,
)
from kstep_integrators.diagnostics.structure_factor import StructureFactor, structure_factor
from kstep_integrators.diagnostics.temperature import temperature_per_element

__all__ = [
    "Alignment",
    "Comparison",
    "Coordination",
    "Correlation",
    "Cost",
    "CurveComparison",
    "DensityProfile",
    "Diffusion",
    "EnergyDrift",
    "Flips",
    "InternalError",
    "JumpErrors",
    "Landings",
    "RadialDistribution",
    "Spectrum",
    "StructureFactor",
    "autocorrelation",
    "block_error",
    "bond_angles",
    "bond_lengths",
    "compare_curves",
    "compare_runs",
    "coordination_numbers",
    "correlation",
    "cost_per_ps",
    "density_profile",
    "dihedral_angles",
    "distance_between",
    "energy_drift",
    "finite_size_correction",
    "jump_errors",
    "kinetic_energy",
    "mass_density",
    "mean_square_displacement",
    "mean_structure_errors",
    "momentum_alignment",
    "on_circle",
    "peak_shift",
    "radial_distribution",
    "radial_distributions",
    "remove_drift",
    "residual_rms",
    "running_coordination",
    "self_diffusion",
    "spectral_overlap",
    "spectral_peaks",
    "structure_factor",
    "temperature_per_element",
    "torsion_flips",
    "torsion_wells",
    "unwrap_positions",
    "velocity_autocorrelation",
    "vibrational_density",
    "virial_pressure",
    "well_changes",
]
