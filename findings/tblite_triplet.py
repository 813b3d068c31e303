"""tblite: triplet oxygen, with and without spin polarization."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ase import Atoms
from tblite.ase import TBLite


def gap(**options: float) -> float:
    """GFN2-xTB energy of singlet O2 above the triplet, eV."""
    energies = []
    for multiplicity in (1, 3):
        atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]])
        atoms.calc = TBLite(method="GFN2-xTB", multiplicity=multiplicity, verbosity=0, **options)
        energies.append(float(atoms.get_potential_energy()))
    return energies[0] - energies[1]


def main() -> int:
    """Print gaps; 0 if the singlet is the ground state unless spin polarization is asked for."""
    default, polarized = gap(), gap(spin_polarization=1.0)
    print(f"singlet - triplet by default:            {default:+.3f} eV")
    print(f"singlet - triplet, spin_polarization=1.0: {polarized:+.3f} eV (experiment +0.98)")
    return int(default > 0)


if __name__ == "__main__":
    sys.exit(main())
