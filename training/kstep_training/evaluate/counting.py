"""Calculators that count what they are asked, whatever the run reports."""

from __future__ import annotations

from typing import Any, cast

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator

from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.testing import CountingCalculator

__all__ = ["Counting", "counting", "counts"]


class Counting:
    """Makes calculators that count, and remembers them by replica.

    Parameters
    ----------
    factory : CalculatorFactory

    Attributes
    ----------
    made : dict of int to CountingCalculator
        By ``atoms.info["replica"]``.
    """

    def __init__(self, factory: CalculatorFactory) -> None:
        self.factory = factory
        self.made: dict[int, CountingCalculator] = {}

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        """A new calculator for the replica that the atoms are."""
        counter = counting(self.factory, atoms)
        self.made[int(atoms.info["replica"])] = counter
        return counter


def counting(factory: CalculatorFactory, atoms: Atoms) -> CountingCalculator:
    """A new calculator that counts."""
    return CountingCalculator(cast(Calculator, factory(atoms)))


def counts(counter: CountingCalculator) -> dict[str, Any]:
    """What a calculator counted, SCF cycles if it tells of any."""
    cycles = getattr(getattr(counter.calculator, "totals", None), "scf_cycles", None)
    return {
        "counted": counter.evaluations,
        "scf_cycles": cycles,
        "physics_seconds": counter.seconds,
    }
