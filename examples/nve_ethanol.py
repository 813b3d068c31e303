"""Ethanol under GFN2-xTB at constant energy: jumps of 2 fs against velocity Verlet of 1 fs.

python examples/nve_ethanol.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.testing import CountingCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
smoke = parser.parse_args().smoke
femtoseconds = 100 if smoke else 5000

start = named_molecule("ethanol")
thermalize_momenta(start, temperature_K=600, rng=np.random.default_rng(0))
Stationary(start)
ZeroRotation(start)
model = load_model("organic-gfn2")


def run(dynamics, steps):
    """Sample the total energy at every step."""
    times, energies = [], []
    dynamics.attach(lambda: times.append(dynamics.get_time()))
    dynamics.attach(lambda: energies.append(dynamics.atoms.get_total_energy()))
    dynamics.run(steps)
    found = energy_drift(np.array(times), np.array(energies), len(start))
    print(
        f"{type(dynamics).__name__:15s} {dynamics.atoms.calc.evaluations:6d} evaluations, "
        f"drift {found.drift:+.3f} meV/atom/ps, fluctuation {found.fluctuation:.3f} meV/atom"
    )


for make, stride in (
    (lambda atoms: VelocityVerlet(atoms, 1.0 * units.fs), 1.0),
    (lambda atoms: KStepDynamics(atoms, model, k=4, timestep=0.5 * units.fs), 2.0),
):
    atoms = start.copy()
    atoms.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    run(make(atoms), round(femtoseconds / stride))
