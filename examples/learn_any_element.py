"""Elements that no bundled model knows: methylsilane and phosphine learn from nothing, and on GFN1.

The physics is GFN2-xTB, where in earnest DFT would stand. Two bases: none at all, and GFN1-xTB.

    python examples/learn_any_element.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics, Learning
from kstep_integrators.calculators import xtb_calculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few strides")
strides = 6 if parser.parse_args().smoke else 60

for name in ("CH3SiH3", "PH3"):
    for base in ("none", "GFN1-xTB"):
        atoms = molecule(name)
        atoms.calc = xtb_calculator("GFN2-xTB")
        thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
        Stationary(atoms)
        ZeroRotation(atoms)
        model = None if base == "none" else CalculatorPotential(xtb_calculator(base))
        dynamics = KStepDynamics(
            atoms, model, k=8, timestep=0.5 * units.fs, learn=Learning(refit=False)
        )
        energies = []
        dynamics.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
        dynamics.run(strides)
        grades = dynamics.lessons.grades
        first, last = (
            1000 * np.sqrt(np.mean([grade.residual**2 for grade in some]))
            for some in (grades[:5], grades[-20:])
        )
        print(
            f"{name:8s} on {base:9s}: residual {first:5.0f} meV/A over the first labels, "
            f"{last:4.0f} over the last; stride {dynamics.dt / units.fs:.0f} fs, "
            f"energy within {1000 * np.ptp(energies[len(energies) // 2 :]):.1f} meV"
        )
