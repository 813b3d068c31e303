"""Cheap methods that a flow jump integrates: networks, calculators, models of others, and sums."""

from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.metatomic import MetatomicPotential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential
from kstep_integrators.potentials.torch_sim import TorchSimPotential

__all__ = [
    "CalculatorPotential",
    "MetatomicPotential",
    "NetworkPotential",
    "Potential",
    "SumPotential",
    "TorchSimPotential",
]
