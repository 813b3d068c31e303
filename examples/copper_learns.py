"""Copper that learns: EMT as the physics, from nothing and on a Morse potential.

The crystal changes nothing in the call: `learn`, as for a molecule. Printed are the residual by the
number of labels, the stride it has led to, and how far the energy wanders in the second half,
against velocity Verlet.

    python examples/copper_learns.py [--smoke]
"""

import argparse

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.md import VelocityVerlet
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics, Learning

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few strides")
size, strides = (2, 6) if parser.parse_args().smoke else (3, 200)


def crystal() -> Atoms:
    """Of which the vibrations take half of what is set: it runs at 300 K."""
    atoms = bulk("Cu", cubic=True) * (size, size, size)
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    Stationary(atoms)
    return atoms


def wanders(energies: list[float], atoms: Atoms) -> float:
    """Fluctuation of the total energy in the second half, meV/atom."""
    return 1000 * float(np.std(energies[len(energies) // 2 :])) / len(atoms)


for step_fs in (4, 8):
    atoms, energies = crystal(), []
    verlet = VelocityVerlet(atoms, timestep=step_fs * units.fs)
    verlet.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
    verlet.run(8 * strides // step_fs)
    print(
        f"velocity Verlet at {step_fs} fs: {8 * strides // step_fs + 1:4d} evaluations, energy "
        f"within {wanders(energies, atoms):.3f} meV/atom"
    )

for base in ("none", "Morse"):
    atoms, energies = crystal(), []
    morse = MorsePotential(epsilon=0.28, r0=2.6, rho0=4.5, rcut1=1.45, rcut2=1.9)
    dynamics = KStepDynamics(
        atoms,
        None if base == "none" else CalculatorPotential(morse),
        k=4,
        timestep=2 * units.fs,
        learn=Learning(refit=False),
    )
    dynamics.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
    dynamics.run(strides)
    parts = np.array_split([grade.residual for grade in dynamics.lessons.grades], 4)
    residuals = ", ".join(f"{1000 * np.sqrt(np.mean(part**2)):.0f}" for part in parts)
    print(
        f"learned from {base:5s}: {dynamics.stats.physics_evaluations:4d} evaluations, energy "
        f"within {wanders(energies, atoms):.3f} meV/atom at strides of "
        f"{dynamics.dt / units.fs:.0f} fs; residual {residuals} meV/A in quarters of the "
        f"{len(dynamics.labels)} labels"
    )
