#!/usr/bin/env bash
# tblite's ASE calculator takes an open direction of a cell as periodic.
#
# Expected: pbc=[True, True, False] is a slab, as ASE says (https://ase-lib.org/ase/atoms.html), or is refused,
# if only three dimensions are there; xTB in two dimensions has been asked for since grimme-lab/xtb#111.
# Seen: energies and forces are those of pbc=True to the last digit, with all three methods and for chains, too;
# a third cell vector of just the right length for the slab brings its images into contact. No warning.
# Why it matters: ase.build makes slabs with pbc=[True, True, False] and as much or as little vacuum as asked for.
# What we do: such cells are refused, with the reason; a user who wants images asks for pbc=True.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tblite==0.8.0 ase==3.29.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from ase.build import molecule
from tblite.ase import TBLite


def energy_and_forces(pbc, height, method):
    atoms = molecule("H2O", cell=[8, 8, height], pbc=pbc)
    atoms.calc = TBLite(method=method, verbosity=0)
    return atoms.get_potential_energy(), atoms.get_forces()


print("tblite", version("tblite"), "ase", version("ase"))
for method in ("GFN1-xTB", "GFN2-xTB"):
    for name, pbc in (("layer", [True, True, False]), ("chain", [True, False, False])):
        open_energy, open_forces = energy_and_forces(pbc, 3.5, method)
        full_energy, full_forces = energy_and_forces(True, 3.5, method)
        far_energy, far_forces = energy_and_forces(True, 40.0, method)
        print(f"{method} {name}: {open_energy:.6f} eV; pbc=True {full_energy:.6f}; image 40 A away {far_energy:.6f}")
        assert open_energy == full_energy, "open directions are seen: the finding is out of date"
        assert np.array_equal(open_forces, full_forces)
        assert abs(open_energy - far_energy) > 0.01
        assert np.abs(open_forces - far_forces).max() > 0.1
EOF
