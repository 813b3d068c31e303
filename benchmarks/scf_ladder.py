"""Hard cases: what each attempt of the ladder does where PySCF's default SCF does not converge.

python -m benchmarks.scf_ladder
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from pyscf import gto

from benchmarks.common import write_result
from kstep_integrators.calculators import PySCFCalculator

CASES: dict[str, tuple[str, float, str]] = {
    "F2 pulled apart": ("F2", 4.0, "6-31g"),
    "C2 pulled apart": ("C2", 2.5, "6-31g"),
    "singlet NiO": ("NiO", 1.7, "sto-3g"),
    "singlet FeO": ("FeO", 1.7, "def2-svp"),
    "Cr2": ("Cr2", 1.7, "def2-svp"),
}


def case(formula: str, distance: float, basis: str) -> dict[str, Any]:
    """Restricted PBE of a diatomic molecule, by PySCF alone and by the calculator."""
    atoms = Atoms(formula, [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    alone = gto.M(
        atom=list(zip(atoms.symbols, atoms.positions.tolist(), strict=True)), basis=basis, verbose=0
    ).RKS(xc="pbe")
    alone.grids.level = 1
    alone.kernel()
    with tempfile.TemporaryDirectory() as folder:
        atoms.calc = PySCFCalculator(
            xc="pbe",
            basis=basis,
            grid_level=1,
            multiplicity=1,
            device="cpu",
            directory=folder,
        )
        row: dict[str, Any] = {"distance_A": distance, "physics": f"pbe/{basis}"}
        row["pyscf_alone"] = {
            "converged": bool(alone.converged),
            "cycles": int(alone.cycles),
            "energy_hartree": float(alone.e_tot),
        }
        try:
            forces = atoms.get_forces()
        except CalculationFailed as error:
            return {**row, "failed": str(error).replace(folder, "DIRECTORY")}
    mean_field = atoms.calc.mean_field
    gradient = mean_field.get_grad(mean_field.mo_coeff, mean_field.mo_occ)
    call = atoms.calc.last_call
    return {
        **row,
        "attempt": call.attempt,
        "retries": call.retries,
        "cycles": call.scf_cycles,
        "seconds": call.scf_seconds,
        "energy_hartree": float(mean_field.e_tot),
        "orbital_gradient": float(np.linalg.norm(gradient)),
        "largest_force_eV_per_A": float(np.abs(forces).max()),
    }


def main() -> None:
    """All cases."""
    write_result("scf_ladder", {"cases": {name: case(*what) for name, what in CASES.items()}})


if __name__ == "__main__":
    main()
