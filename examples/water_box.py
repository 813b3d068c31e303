"""A box of water under periodic GFN1-xTB that learns: stride, residual, energy, and g(r) of O-O.

GFN1 is a stand-in for what takes seconds: everything is as it would be under DFT. The box is melted
by a Langevin bath while it learns, with refits of all weights to 60, 120 and 240 labels, and then
runs at constant energy on what it has learned. Refits take an hour or two of one core: without them
(`refit=False`, as under `--smoke`) the residual of water stays at 60 meV/angstrom.

    python examples/water_box.py [--smoke]
"""

import argparse

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from kstep_integrators import KStepDynamics, Learning
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import mass_density, radial_distribution

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="eight molecules, a few strides")
smoke = parser.parse_args().smoke
melting, strides = (20, 10) if smoke else (400, 1000)
KELVIN, VOLUME = 350.0, 29.9  # A^3 for each molecule, as at 1 g/cm^3


def water(count: int) -> Atoms:
    """Molecules turned at random, on a simple cubic lattice if they are 8, an fcc one if 32."""
    per_cell, kind = {8: (1, "sc"), 32: (4, "fcc")}[count]
    lattice = bulk("X", kind, a=(per_cell * VOLUME) ** (1 / 3), cubic=True) * (2, 2, 2)
    rng, box = np.random.default_rng(1), Atoms(cell=lattice.cell, pbc=True)
    for place in lattice.positions:
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0.0, 360.0, 3), center="COM")
        one.positions += place - one.get_center_of_mass()
        box += one
    return box


atoms = water(8 if smoke else 32)
atoms.calc = xtb_calculator("GFN1-xTB")
rng = np.random.default_rng(0)
thermalize_momenta(atoms, temperature_K=KELVIN, rng=rng)
Stationary(atoms)

melt = KStepDynamics(
    atoms, None, k=8, timestep=0.5 * units.fs, learn=Learning(refit=False if smoke else "wait"),
    temperature_K=KELVIN, friction=0.01 / units.fs, rng=rng,
)  # fmt: skip
melt.run(melting)
parts = np.array_split([grade.residual for grade in melt.lessons.grades], 4)
print(
    f"{len(melt.labels)} labels, residual "
    f"{', '.join(f'{1000 * np.sqrt(np.mean(part**2)):.0f}' for part in parts)} meV/A in quarters "
    f"of them; strides of {melt.dt / units.fs:.0f} fs, {melt.stats.fallbacks} fallbacks; "
    f"{melt.stats.physics_seconds:.0f} s of GFN1, {melt.stats.jump_seconds:.0f} s of jumps"
)
melt.potential.save("water.safetensors")

dynamics = KStepDynamics(atoms, "water.safetensors", k=4, timestep=0.5 * units.fs)
energies, frames = [], []
dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
dynamics.attach(lambda: frames.append(atoms.get_positions()))
dynamics.run(strides)
print(
    f"{strides} strides of 2 fs on the saved model: energy within "
    f"{1000 * np.std(energies) / len(atoms):.2f} meV/atom, residual "
    f"{1000 * dynamics.stats.residual_rms:.0f} meV/A, {dynamics.stats.fallbacks} fallbacks"
)
cell = atoms.cell[:]
oxygen, half = np.flatnonzero(atoms.numbers == 8), cell[0, 0] / 2
g = radial_distribution(frames, cell, oxygen, oxygen, half, bins=20)
print(f"{mass_density(atoms.get_masses(), cell):.2f} g/cm^3; g(r) of oxygen and oxygen:")
for distance, density in zip(g.distances, g.density, strict=True):
    print(f"  {distance:.2f} A  {density:5.2f}  {'#' * round(10 * density)}")
