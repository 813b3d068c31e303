#!/usr/bin/env bash
# Forces of torch-sim's Lennard-Jones and Morse models are twice the gradient of their energies.
#
# Expected: forces are minus the derivatives of the energy, as the docstring of lennard_jones_pair_force says.
# Seen: in torch-sim-atomistic 0.3.0, the last release for Python 3.11, they are twice that, for a pair of atoms, too:
# each pair is in the list as i-j and j-i, the energy is halved for it, and the forces of both are added to both atoms.
# Later releases (0.6) add them to one.
# Why it matters: dynamics on these models, which the tutorials use, conserves no energy and is as of twice the depth.
# What we do: TorchSimPotential compares forces and energy when it is bound, and warns; such a model still serves.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch-sim-atomistic==0.3.0 torch==2.13.0 numpy==2.4.6

venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import torch
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.models.morse import MorseModel
from torch_sim.state import SimState


def answer(model, distance):
    return model(
        SimState(
            positions=torch.tensor([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], dtype=torch.float64),
            masses=torch.ones(2, dtype=torch.float64),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64),
            pbc=False,
            atomic_numbers=torch.tensor([18, 18]),
        )
    )


settings = dict(sigma=3.4, epsilon=0.0104, cutoff=8.0, dtype=torch.float64, compute_forces=True)
print("torch-sim-atomistic", version("torch-sim-atomistic"), "torch", version("torch"))
for model in (LennardJonesModel(**settings), MorseModel(alpha=1.4, **settings)):
    for lists in (True, False):
        model.use_neighbor_list = lists
        forward, backward = (float(answer(model, 3.6 + h)["energy"]) for h in (1e-5, -1e-5))
        gradient = (forward - backward) / 2e-5
        force = float(answer(model, 3.6)["forces"][1, 0])
        print(f"{type(model).__name__}, lists {lists}: force {force:.8f} eV/A, minus gradient {-gradient:.8f}")
        assert abs(force + 2.0 * gradient) < 1e-7, "the finding is out of date"
EOF
