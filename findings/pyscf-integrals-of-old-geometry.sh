#!/usr/bin/env bash
# PySCF's SCF mixes two geometries when the molecule is moved in place.
#
# Expected: kernel() after mol.set_geom_() is the energy of the molecule that the object now has (`mf.mol` is that
# molecule), or an error: set_geom_ is what https://pyscf.org/user/gto.html has for moving atoms.
# Seen: the nuclear repulsion, overlap and one-electron integrals are of the new geometry, the two-electron
# integrals (and the grid of a functional) are those kept from the old one. The SCF converges, to 1.7 hartree below
# the right energy for water with one bond 0.2 A longer, and the gradient is off by 2 hartree/bohr. After
# mf.reset() it is right. Large molecules are right by themselves, since their integrals do not fit in memory.
# Why it matters: it works for what is too large to test with.
# What we do: every geometry is a new molecule, handed over with reset(mol).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyscf==2.14.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from pyscf import dft, gto, scf


def water(bond):
    return gto.M(atom=f"O 0 0 0; H 0 {bond} 0.6; H 0 -0.76 0.6", basis="6-31g", verbose=0)


def mean_field(molecule, functional):
    if functional is None:
        return scf.RHF(molecule)
    return dft.RKS(molecule, xc=functional)


print("PySCF", version("pyscf"))
for functional in (None, "pbe"):
    right = mean_field(water(0.96), functional).run()
    molecule = water(0.76)
    moved = mean_field(molecule, functional).run()
    molecule.set_geom_(water(0.96).atom_coords(), unit="Bohr")
    moved.kernel()
    assert np.allclose(moved.mol.atom_coords(), water(0.96).atom_coords())
    off = np.abs(moved.nuc_grad_method().kernel() - right.nuc_grad_method().kernel()).max()
    wrong, converged = moved.e_tot, moved.converged
    moved.reset()
    moved.kernel()
    name = functional or "Hartree-Fock"
    print(f"{name}: right {right.e_tot:.6f} hartree; moved in place {wrong:.6f}, converged {converged};", end=" ")
    print(f"gradient off by {off:.2f} hartree/bohr; after reset() {moved.e_tot:.6f}")
    assert abs(moved.e_tot - right.e_tot) < 1e-6
    assert converged and wrong < right.e_tot - 1 and off > 1, "the finding is out of date"
EOF
