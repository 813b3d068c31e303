#!/usr/bin/env bash
# ASE's EMT writes new forces into the array that it gave out as the old result.
#
# Expected: `calc.results` belongs to one geometry; what was taken from it stays as it was. ASE's other calculators
# make new arrays, and Calculator.calculate empties the dict for each geometry
# (https://ase-lib.org/ase/calculators/calculators.html, "results").
# Seen: the forces (and the energies per atom) are the same arrays after every calculation, so a reference to them,
# or a shallow copy of the dict, changes its values when the atoms move. get_forces() copies.
# Why it matters: code that keeps results (caches, trajectories in memory, labels, copies for SinglePointCalculator)
# stores the last geometry many times over. EMT is what tests of such code run on, which therefore pass or fail
# for the wrong reason.
# What we do: whatever calculators hand out is copied when it is kept.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check ase==3.29.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones


def change_of_kept_forces(calculator):
    """Largest change, in eV/A, of forces taken from the results of the geometry before."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = calculator
    atoms.get_potential_energy()
    kept = dict(calculator.results)["forces"]
    values = kept.copy()
    atoms.rattle(0.05, seed=2)
    atoms.get_potential_energy()
    return np.abs(kept - values).max(), kept is calculator.results["forces"]


print("ase", version("ase"))
for calculator in (LennardJones(sigma=2.3, rc=6.0), EMT()):
    change, same = change_of_kept_forces(calculator)
    print(f"{type(calculator).__name__}: kept forces changed by {change:.3f} eV/A; the same array: {same}")
    if isinstance(calculator, EMT):
        assert same and change > 0.1, "arrays are no longer reused: the finding is out of date"
    else:
        assert not same and change == 0
EOF
