"""PySCF as an ASE calculator made for dynamics, on the CPU or, through GPU4PySCF, on the GPU."""

from kstep_integrators.calculators.pyscf.calculator import PySCFCalculator
from kstep_integrators.calculators.pyscf.counts import CallRecord, Totals

__all__ = ["CallRecord", "PySCFCalculator", "Totals"]
