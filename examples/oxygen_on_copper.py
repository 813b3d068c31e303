"""Oxygen on Cu(111) with its lower layers fixed: EMT as the physics, a Morse base that learns.

One Morse potential for all pairs is far from a metal with an adsorbate: what it lacks is learned
while the run goes on. The slab is periodic in its plane and open above.

    python examples/oxygen_on_copper.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.build import add_adsorbate, fcc111
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators import CalculatorPotential, KStepDynamics, Learning

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
smoke = parser.parse_args().smoke
jumps = 20 if smoke else 2000

atoms = fcc111("Cu", (3, 3, 4), vacuum=8.0)
add_adsorbate(atoms, "O", 1.2, "fcc")
lower = atoms.get_tags() > 2  # ase.build counts layers from the top
upper = atoms.get_tags() == 1
atoms.set_constraint(FixAtoms(mask=lower))
atoms.calc = EMT()
BFGS(atoms, logfile=None).run(fmax=0.05, steps=5 if smoke else 200)
held = atoms.positions[lower].copy()
rng = np.random.default_rng(0)
thermalize_momenta(atoms, temperature_K=300, rng=rng)

dynamics = KStepDynamics(
    atoms,
    CalculatorPotential(MorsePotential(epsilon=0.3, r0=2.5, rho0=3.0, rcut1=1.6, rcut2=2.2)),
    k=4,
    timestep=1 * units.fs,
    learn=Learning(refit=False),
    temperature_K=300,
    friction=0.005 / units.fs,
    rng=rng,
    trajectory="slab.traj",
    logfile="slab.log",
    loginterval=10,
)
heights, temperatures = [], []
dynamics.attach(lambda: heights.append(atoms.positions[-1, 2] - atoms.positions[upper, 2].mean()))
dynamics.attach(lambda: temperatures.append(atoms.get_temperature()))  # of those that move
dynamics.run(jumps)
stats, moved = dynamics.stats, np.abs(atoms.positions[lower] - held).max()
grades = dynamics.lessons.grades
first, last = (
    1000 * np.sqrt(np.mean([grade.residual**2 for grade in some]))
    for some in (grades[:5], grades[-20:])
)
print(
    f"{stats.jumps} jumps, {stats.physics_evaluations} evaluations of EMT, {stats.fallbacks} "
    f"fallbacks; residual {first:.0f} meV/A over the first labels, {last:.0f} over the last; "
    f"strides of {dynamics.dt / units.fs:.0f} fs; {np.mean(temperatures[jumps // 5 :]):.0f} K"
)
print(
    f"oxygen is {np.mean(heights):.2f} +- {np.std(heights):.2f} A above the layer below it; the "
    f"two lower layers moved by {moved:.0f} A"
)
