"""ASE calculators made ready for dynamics."""

from kstep_integrators.calculators.pyscf import PySCFCalculator
from kstep_integrators.calculators.semiempirical import xtb_calculator

__all__ = ["PySCFCalculator", "xtb_calculator"]
