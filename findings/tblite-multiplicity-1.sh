#!/usr/bin/env bash
# tblite takes multiplicity 1 for a radical and runs a doublet; every other impossible multiplicity is an error.
#
# Expected: an error, as for a triplet of seven electrons ("Total number of electrons (7) and number unpaired
# electrons (2) is not compatible"). https://tblite.readthedocs.io/en/latest/users/ase.html
# Seen: multiplicity=1 gives the doublet's energy for any odd number of electrons, neutral or charged, without a
# word, because no unpaired electrons also means "not told".
# Why it matters: a wrong charge is usually found by its parity. A radical cation meant as neutral, or the other
# way round, passes as a closed shell, and its energies become labels.
# What we do: charge and multiplicity are checked against the electrons before tblite is asked.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tblite==0.8.0 ase==3.29.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from tblite.ase import TBLite


def energy(name, **electrons):
    atoms = molecule(name)
    atoms.set_initial_magnetic_moments(None)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0, **electrons)
    return atoms.get_potential_energy()


print("tblite", version("tblite"))
for name, charge in (("CH3", 0), ("OH", 0), ("H2O", 1), ("NH3", -1)):
    doublet = energy(name, charge=charge, multiplicity=2)
    try:
        singlet = energy(name, charge=charge, multiplicity=1)
    except CalculationFailed as error:
        raise SystemExit(f"refused, the finding is out of date: {error}")
    print(f"{name} charge {charge:+d}: 'singlet' {singlet:.6f} eV, doublet {doublet:.6f} eV")
    assert abs(singlet - doublet) < 1e-6
    try:
        triplet = energy(name, charge=charge, multiplicity=3)
    except CalculationFailed as error:
        print("    multiplicity 3:", error)
    else:
        raise SystemExit(f"multiplicity 3 gives {triplet}: the finding is out of date")
EOF
