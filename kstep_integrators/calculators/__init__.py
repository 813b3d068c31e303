"""ASE calculators made ready for dynamics."""

from kstep_integrators.calculators.openmm import OpenMMCalculator, fixed_bonds
from kstep_integrators.calculators.pyscf import PySCFCalculator
from kstep_integrators.calculators.semiempirical import xtb_calculator

__all__ = ["OpenMMCalculator", "PySCFCalculator", "fixed_bonds", "xtb_calculator"]
