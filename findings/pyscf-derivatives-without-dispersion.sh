#!/usr/bin/env bash
# PySCF leaves the dispersion of its energies out of forces and stresses of crystals, and out of TDDFT gradients.
#
# Expected: with mf.disp = "d3bj" the gradient is that of e_tot, which has the dispersion in it, as it is for the
# ground states of molecules; or an error. https://pyscf.org/user/dft.html, "Dispersion corrections"
# Seen: for a periodic cell, forces and stress are equal, to the last digit, with disp set and without, while the
# energy has the dispersion and its derivative is not zero. The same for the gradient of an excited state, beside a
# ground-state gradient that has it.
# Why it matters: dispersion is what holds molecular crystals together. Dynamics does not conserve the energy that it
# reports, and relaxed cells are several percent too large.
# What we do: forces of crystals with a dispersion are refused.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyscf==2.14.0 pyscf-dispersion==1.7.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from pyscf import dft, gto
from pyscf.pbc import dft as pbc_dft
from pyscf.pbc import gto as pbc_gto


def crystal(dispersion, x=1.6, scale=1.0):
    argon = [["Ar", (0, 0, 0)], ["Ar", (x * scale, 2.1 * scale, 2.2 * scale)]]
    cell = pbc_gto.M(
        atom=argon, a=4.6 * scale * np.eye(3), basis="gth-szv", pseudo="gth-pade", mesh=[25] * 3, verbose=0
    )
    mean_field = pbc_dft.KRKS(cell, np.zeros((1, 3)))
    mean_field.xc, mean_field.disp = "pbe", dispersion
    return mean_field


def molecule(dispersion, x=0.0):
    hf = gto.M(atom=f"Ar {x} 0 0; H 2.8 0 0.2; F 3.7 0 0.1", basis="6-31g", verbose=0)
    mean_field = dft.RKS(hf, xc="pbe0")
    mean_field.disp = dispersion
    return mean_field


def slope(system, x):
    """Of the dispersion energy along the x of one atom, hartree/bohr."""
    step = 1e-3
    ends = [float(system("d3bj", x + sign * step).get_dispersion()) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step / 0.529177210544)


def excited(mean_field):
    tda = mean_field.TDA()
    tda.nstates = 2
    tda.kernel()
    return tda.nuc_grad_method().kernel(state=1)


print("PySCF", version("pyscf"), "pyscf-dispersion", version("pyscf-dispersion"))
plain, corrected = crystal(None).run(), crystal("d3bj").run()
forces = [mf.nuc_grad_method().kernel()[1, 0] for mf in (plain, corrected)]
stress = [np.trace(mf.nuc_grad_method().get_stress()) / 3 for mf in (plain, corrected)]
added, expected = corrected.e_tot - plain.e_tot, slope(crystal, 1.6)
print(f"crystal: dispersion adds {added:.6f} hartree, of slope {expected:.6f} hartree/bohr")
print(f"    gradient without {forces[0]:.9f}, with {forces[1]:.9f} hartree/bohr")
ends = [float(crystal("d3bj", scale=1 + sign * 1e-3).get_dispersion()) for sign in (1, -1)]
missing = (ends[0] - ends[1]) / (3 * 2e-3 * corrected.cell.vol)
print(f"    its stress {missing:.4e}; stress without {stress[0]:.4e}, with {stress[1]:.4e} hartree/bohr^3")
assert abs(added) > 1e-3 and abs(expected) > 3e-5 and abs(missing) > 3e-6
assert abs(forces[0] - forces[1]) < 1e-9 and abs(stress[0] - stress[1]) < 1e-10, "the finding is out of date"

plain, corrected = molecule(None).run(), molecule("d3bj").run()
ground = [mf.nuc_grad_method().kernel()[0, 0] for mf in (plain, corrected)]
first = [excited(mf)[0, 0] for mf in (plain, corrected)]
expected = slope(molecule, 0.0)
print(f"molecule: slope of the dispersion {expected:.6f}; the gradient of the ground state changes by", end=" ")
print(f"{ground[1] - ground[0]:.6f}, that of the first excited state by {first[1] - first[0]:.6f} hartree/bohr")
assert abs(expected) > 5e-5
assert abs(ground[1] - ground[0] - expected) < 1e-6
assert abs(first[1] - first[0]) < 1e-6, "the finding is out of date"
EOF
