#!/usr/bin/env bash
# Energies of torch-sim's Lennard-Jones and Morse models are wrong in cells that are not orthogonal.
#
# Expected: the energy of a crystal is the sum over pairs and images, and does not change if an atom is replaced by one
# of its images. SimState keeps cell vectors as columns, and the models ask for the rows.
# Seen: in torch-sim-atomistic 0.3.0, images are shifted by rows of integers times the transposed cell. In a cell with
# angles other than 90 degrees, distances to images are wrong: here the energy is 3 eV where it is -0.14, and moving an
# atom by a cell vector changes it. In orthogonal cells both are the same, which is what most examples use.
# Why it matters: primitive cells of fcc, bcc and hcp are skewed.
# What we do: nothing in our code; our tests of such cells are made with models of their own. MaceModel has it right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch-sim-atomistic==0.3.0 torch==2.13.0 ase==3.29.0

venv/bin/python -W ignore - <<'EOF'
import itertools
from importlib.metadata import version

import numpy as np
import torch
from ase.build import bulk
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.state import SimState

SIGMA, EPSILON, CUTOFF = 3.4, 0.0104, 8.0
model = LennardJonesModel(sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF, dtype=torch.float64)


def energy(atoms):
    state = SimState(
        positions=torch.tensor(atoms.positions),
        masses=torch.tensor(atoms.get_masses()),
        cell=torch.tensor(atoms.cell.array.T.copy()).unsqueeze(0),  # columns
        pbc=True,
        atomic_numbers=torch.tensor(atoms.numbers),
    )
    return float(model(state)["energy"])


def by_images(atoms):
    shifts = np.array(list(itertools.product(range(-6, 7), repeat=3))) @ atoms.cell.array
    total = 0.0
    for one, other in itertools.product(atoms.positions, repeat=2):
        r = np.linalg.norm(other + shifts - one, axis=1)
        x = (SIGMA / r[(r > 1e-9) & (r < CUTOFF)]) ** 6
        total += 0.5 * (4.0 * EPSILON * (x * x - x)).sum()
    return total


print("torch-sim-atomistic", version("torch-sim-atomistic"), "torch", version("torch"))
cubic = bulk("Ar", a=5.3, cubic=True)
cubic.rattle(0.05, seed=0)
skewed = cubic.copy()
skewed.set_cell(cubic.cell.array + [[0, 0, 0], [1.5, 0, 0], [0.7, 1.1, 0]], scale_atoms=True)
image = skewed.copy()
image.positions[0] += image.cell[2]
for name, atoms in (("cubic", cubic), ("skewed", skewed), ("skewed, an atom by its image", image)):
    print(f"{name}: {energy(atoms):.6f} eV, sum over images {by_images(atoms):.6f}")
assert abs(energy(cubic) - by_images(cubic)) < 1e-9
assert abs(energy(skewed) - by_images(skewed)) > 0.01, "the finding is out of date"
assert abs(by_images(image) - by_images(skewed)) < 1e-9
assert abs(energy(image) - energy(skewed)) > 1e-3
EOF
