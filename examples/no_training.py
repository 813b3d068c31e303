"""No network at all: GFN1-xTB inside GFN2-xTB, with a Langevin thermostat, log and trajectory.

Any cheap ASE calculator can stand inside any expensive one: GFN2 inside DFT works the same way.

    python examples/no_training.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics, named_molecule
from kstep_integrators.calculators import xtb_calculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
jumps = 20 if parser.parse_args().smoke else 5000

atoms = named_molecule("malonaldehyde")
atoms.calc = xtb_calculator("GFN2-xTB")
rng = np.random.default_rng(0)
thermalize_momenta(atoms, temperature_K=300, rng=rng)

dynamics = KStepDynamics(
    atoms,
    CalculatorPotential(xtb_calculator("GFN1-xTB")),
    k=4,
    timestep=0.5 * units.fs,
    temperature_K=300,
    friction=0.002 / units.fs,
    rng=rng,
    trajectory="malonaldehyde.traj",
    logfile="malonaldehyde.log",
    loginterval=10,
)
dynamics.run(jumps)
stats = dynamics.stats
print(
    f"{stats.jumps} jumps of 2 fs, {stats.physics_evaluations} GFN2 evaluations, "
    f"residual {1000 * stats.residual_rms:.0f} meV/A, {stats.fallbacks} fallbacks"
)
