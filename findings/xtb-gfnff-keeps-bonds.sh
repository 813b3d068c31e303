#!/usr/bin/env bash
# A GFN-FF calculator of xtb-python keeps the bonds of the first molecule that it saw, for an isomer, too.
#
# Expected: the energy of the atoms that are handed in. ASE's calculators may be shared between structures, and
# this one starts anew when elements, charges or moments change.
# https://xtb-python.readthedocs.io/en/latest/ase-calculator.html
# Seen: with only positions changed, the topology is kept. Dimethyl ether after ethanol, the same elements in the
# same order, is off by 55 eV, the other way round by 49 eV. A molecule whose bond has broken stays bonded, and
# setting other initial charges in the middle of a run throws the topology away at whatever geometry it has.
# Why it matters: one calculator for a list of conformers, isomers or frames is the usual loop.
# What we do: topologies are kept per molecule, an isomer is noticed and gets its own, and `reset` starts anew.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check xtb==22.1 ase==3.29.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF' | grep -a '^SEEN'
from importlib.metadata import version

import numpy as np
from ase.build import molecule
from xtb.ase.calculator import XTB


def sorted_molecule(name):
    atoms = molecule(name)
    return atoms[np.argsort(-atoms.numbers, kind="stable")]


def energy(atoms, calculator):
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_potential_energy()


print("SEEN xtb", version("xtb"), "ase", version("ase"), flush=True)
ethanol, ether = sorted_molecule("CH3CH2OH"), sorted_molecule("CH3OCH3")
assert np.array_equal(ethanol.numbers, ether.numbers)
alone = [energy(atoms, XTB(method="GFNFF")) for atoms in (ethanol, ether)]
shared = XTB(method="GFNFF")
forth = [energy(atoms, shared) for atoms in (ethanol, ether)]
shared = XTB(method="GFNFF")
back = [energy(atoms, shared) for atoms in (ether, ethanol)][::-1]
shared.reset()
anew = energy(ethanol, shared)
print("SEEN a calculator each:       ethanol {:.4f} eV, ether {:.4f} eV".format(*alone))
print("SEEN one, ethanol first:      ethanol {:.4f} eV, ether {:.4f} eV".format(*forth))
print("SEEN one, ether first:        ethanol {:.4f} eV, ether {:.4f} eV".format(*back))
print(f"SEEN ethanol after reset():   {anew:.4f} eV")
assert abs(alone[0] - forth[0]) < 1e-6 and abs(alone[1] - back[1]) < 1e-6 and abs(anew - alone[0]) < 1e-6
assert abs(forth[1] - alone[1]) > 10 and abs(back[0] - alone[0]) > 10, "the finding is out of date"
EOF
