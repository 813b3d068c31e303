"""DFT with nothing to prepare: ethanol under B3LYP/def2-SVP learns its potential while it runs.

The residual of every landing, before it is learned, and the stride that it allows. The learned
potential is saved, and 20 fs more are run on it. Some twelve minutes on one CPU core.

    python examples/learn_dft.py [--smoke]
"""

import argparse

import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta

from kstep_integrators import KStepDynamics, Learning, load_model, named_molecule
from kstep_integrators.calculators import PySCFCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="Hartree-Fock/STO-3G and a few strides")
smoke = parser.parse_args().smoke
strides = 6 if smoke else 60
level = {"method": "hf", "basis": "sto-3g"} if smoke else {"xc": "b3lyp", "basis": "def2-svp"}

atoms = named_molecule("ethanol")
atoms.calc = PySCFCalculator(**level)
thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
Stationary(atoms)
ZeroRotation(atoms)
dynamics = KStepDynamics(
    atoms,
    "organic-gfn2",
    k=8,
    timestep=0.5 * units.fs,
    learn=Learning(refit=False),  # leave it out, and all weights are fitted too, beside the run
    trajectory="ethanol.traj",
    logfile="ethanol.log",
)


def report():
    """The last block of labels, before it was learned."""
    lessons = dynamics.lessons
    if lessons is not None and lessons.grades:
        last, stride = lessons.grades[-1], dynamics.dt / units.fs
        print(
            f"{dynamics.get_time() / units.fs:6.1f} fs, next stride {stride:.0f} fs: "
            f"{lessons.labels:3d} labels, residual {1000 * last.residual:5.1f} meV/A "
            f"(base {1000 * last.of_base:5.1f}), energy {atoms.get_total_energy():.4f} eV"
        )


dynamics.attach(report)
dynamics.run(strides)
print(f"{dynamics.stats.physics_evaluations} gradients in {len(dynamics.labels)} labels")
dynamics.potential.save("ethanol-dft.safetensors")
learned = load_model("ethanol-dft.safetensors")
again = KStepDynamics(atoms, learned, k=8, timestep=0.5 * units.fs)
again.run(1 if smoke else 5)
print(f"on the saved model: residual {1000 * again.stats.residual_rms:.1f} meV/A")
