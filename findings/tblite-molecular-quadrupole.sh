#!/usr/bin/env bash
# tblite's molecular quadrupole does not turn with the molecule: its entries off the diagonal are too large.
#
# Expected: a traceless tensor of second rank, whose eigenvalues do not depend on the orientation of the molecule.
# https://tblite.readthedocs.io/en/latest/users/python.html
# Seen: energy and length of the dipole of a turned water molecule are what they were; the eigenvalues of the
# quadrupole are not, whatever order its six components are taken in.
# Why it matters: the tensor is an input of equivariant networks and a label of others, and enters energies in fields.
# What we do: the quadrupole is summed from atomic charges, dipoles and quadrupoles.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tblite==0.8.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version
from itertools import permutations

import numpy as np
from tblite.interface import Calculator

print("tblite", version("tblite"))


def moments(method, positions):
    calculator = Calculator(method, np.array([8, 1, 1]), positions)
    calculator.set("verbosity", 0)
    calculator.set("accuracy", 1e-3)
    found = calculator.singlepoint()
    return found.get("energy"), np.linalg.norm(found.get("dipole")), found.get("quadrupole")


def eigenvalues(six, order):
    first, second, third, *off = (six[i] for i in order)
    tensor = np.diag([first, second, third])
    for (i, j), value in zip(((0, 1), (0, 2), (1, 2)), off):
        tensor[i, j] = tensor[j, i] = value
    return np.linalg.eigvalsh(tensor)


water = np.array([[0.0, 0.0, 0.0], [1.8, 0.0, 0.2], [-0.4, 1.7, 0.0]])  # bohr
cosine, sine = np.cos(0.7), np.sin(0.7)
turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]
)
for method in ("GFN1-xTB", "GFN2-xTB"):
    (energy, dipole, before), (energy2, dipole2, after) = (
        moments(method, x) for x in (water, water @ turn.T)
    )
    print(f"{method}: energy {energy:.9f} and {energy2:.9f}, dipole {dipole:.6f} and {dipole2:.6f}")
    assert abs(energy - energy2) < 1e-7 and abs(dipole - dipole2) < 1e-4
    order = (0, 2, 5, 1, 3, 4)  # xx, xy, yy, xz, yz, zz
    print("    trace", before[[0, 2, 5]].sum().round(9), after[[0, 2, 5]].sum().round(9))
    print("    eigenvalues", eigenvalues(before, order).round(4), eigenvalues(after, order).round(4))
    least = min(
        np.abs(eigenvalues(before, p) - eigenvalues(after, p)).max() for p in permutations(range(6))
    )
    print(f"    least difference of eigenvalues over all orders of the components: {least:.4f}")
    if least < 1e-3:
        raise SystemExit("they agree: the finding is out of date")
EOF
