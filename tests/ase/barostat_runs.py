"""Runs of a harmonic crystal at constant pressure for tests."""

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.testing import CountingCalculator
from tests.periodic_systems import Crystal, crystal

FS = units.fs
BATH = {"temperature_K": 300, "friction": 0.02 / FS}
PRESSURE = {"pressure": 0.05, "barostat_interval": 1, "barostat_scales": "atoms", **BATH}
METROPOLIS = {"metropolize": True, "corrector": "none", "k": 5, "timestep": 8 * FS}


def run_of_crystal(**given):
    """Atoms on springs, moved on springs that are softer and know nothing of the volume."""
    atoms, sites = crystal()
    atoms = given.pop("atoms", atoms)
    atoms.calc = given.pop("calculator", None) or CountingCalculator(Crystal(sites))
    cheap = CalculatorPotential(Crystal(sites, spring=2.6, stiffness=0.0), 2 * FS)
    rng = given.pop("rng", None) or np.random.default_rng(5)
    return KStepDynamics(
        atoms, cheap, **{"k": 4, "corrector": "impulse", "rng": rng, **PRESSURE, **given}
    )


class Plain(Calculator):
    """Nothing acts: a jump is free flight, and impulses around it are velocity Verlet."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
