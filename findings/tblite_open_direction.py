"""tblite: a cell that is open in one direction."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ase import Atoms
from tblite.ase import TBLite


def energy(pbc: tuple[bool, bool, bool]) -> float:
    """GFN2-xTB energy of nitrogen in a cube of 4 angstrom, eV."""
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], cell=[4.0, 4.0, 4.0], pbc=pbc)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    return float(atoms.get_potential_energy())


def main() -> int:
    """Print energies; 0 if the slab has that of the crystal."""
    crystal, slab = energy((True, True, True)), energy((True, True, False))
    print(f"pbc=(True, True, True):  {crystal:.6f} eV")
    print(f"pbc=(True, True, False): {slab:.6f} eV")
    return int(slab != crystal)


if __name__ == "__main__":
    sys.exit(main())
