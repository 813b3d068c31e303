"""The canonical ensemble of GFN2-xTB from jumps of 50 fs, one energy each.

The network only proposes; the physical energy accepts or rejects.

    python examples/exact_ensemble.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few jumps, to see that it runs")
smoke = parser.parse_args().smoke

atoms = named_molecule("ethanol")
atoms.calc = xtb_calculator("GFN2-xTB")
rng = np.random.default_rng(0)
thermalize_momenta(atoms, temperature_K=300, rng=rng)
dynamics = KStepDynamics(
    atoms,
    load_model("organic-gfn2"),
    k=20 if smoke else 100,
    timestep=0.5 * units.fs,
    corrector="none",
    metropolize=True,
    temperature_K=300,
    friction=0.01 / units.fs,
    rng=rng,
)
energies = []
dynamics.attach(lambda: energies.append(atoms.get_potential_energy()))
dynamics.run(10 if smoke else 2000)

stats = dynamics.stats
sampled = np.array(energies[len(energies) // 10 :])
print(
    f"{stats.jumps} jumps in {stats.physics_evaluations} evaluations: {stats.accepted} accepted, "
    f"{stats.flips} ended in reversed momenta; {dynamics.get_time() / units.fs:.0f} fs travelled\n"
    f"potential energy {sampled.mean():.3f} eV, standard deviation {sampled.std():.3f} eV"
)
