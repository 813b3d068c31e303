"""Cheap methods that a flow jump integrates: networks, ASE calculators, and sums of both."""

from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential

__all__ = ["CalculatorPotential", "NetworkPotential", "Potential", "SumPotential"]
