"""Systems for the tests of the PySCF calculator."""

import numpy as np
from ase.build import molecule

from kstep_integrators.calculators import PySCFCalculator


def water(seed=0, **changes):
    atoms = molecule("H2O")
    atoms.positions += np.random.default_rng(seed).normal(0.0, 0.03, (3, 3))
    settings = {"method": "hf", "basis": "sto-3g", "device": "cpu", **changes}
    atoms.calc = PySCFCalculator(**{k: v for k, v in settings.items() if v is not None})
    return atoms
