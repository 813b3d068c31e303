"""ASE calculators made ready for dynamics."""

from kstep_integrators.calculators.semiempirical import xtb_calculator

__all__ = ["xtb_calculator"]
