"""PySCFCalculator against PySCF itself and against finite differences of its own energy.

    python -m benchmarks.pyscf_accuracy

Shaken small molecules. "cold": the first geometry of a calculator. "warm": the fourth of a path of
equal steps to the same geometry, with an extrapolated density to start from. The reference is an
SCF of PySCF made without the calculator and converged to 1e-12 hartree. Finite differences are
central, of fourth order, at 1e-12 hartree. All in hartree and bohr.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree
from pyscf import gto

from benchmarks.common import write_result
from kstep_integrators import named_molecule
from kstep_integrators.calculators import PySCFCalculator

TIGHT = 1e-12
STEP = 3e-3  # angstrom
COORDINATES = 2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A level of theory.

    Attributes
    ----------
    xc : str or None
        None for Hartree-Fock.
    density_fit, dispersion, solvent : bool
        The latter two are D3(BJ) and water in IEF-PCM.
    """

    xc: str | None = None
    density_fit: bool = False
    dispersion: bool = False
    solvent: bool = False

    def name(self) -> str:
        """Short name."""
        parts = {"DF": self.density_fit, "D3(BJ)": self.dispersion, "IEF-PCM": self.solvent}
        return " ".join([self.xc or "HF", *(part for part, on in parts.items() if on)])

    def calculator(self, basis: str, multiplicity: int, **settings: Any) -> PySCFCalculator:
        """With the calculator's own names for the settings."""
        return PySCFCalculator(
            None if self.xc else "hf",
            xc=self.xc,
            basis=basis,
            multiplicity=multiplicity,
            density_fit=self.density_fit,
            dispersion="d3bj" if self.dispersion else None,
            solvent="water" if self.solvent else None,
            device="cpu",
            **settings,
        )

    def reference(self, atoms: Atoms, basis: str, multiplicity: int) -> tuple[float, Floats]:
        """Energy and forces of PySCF alone."""
        mol = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
            basis=basis,
            spin=multiplicity - 1,
            unit="Angstrom",
            verbose=0,
        )
        shell = "R" if multiplicity == 1 else "U"
        mean_field = getattr(mol, f"{shell}KS" if self.xc else f"{shell}HF")()
        if self.xc:
            mean_field.xc = self.xc
        if self.density_fit:
            mean_field = mean_field.density_fit()
        if self.dispersion:
            mean_field.disp = "d3bj"
        if self.solvent:
            mean_field = mean_field.PCM()
            mean_field.with_solvent.method = "IEF-PCM"
            mean_field.with_solvent.eps = 78.355
        mean_field.conv_tol = TIGHT
        mean_field.kernel()
        if not mean_field.converged:
            raise RuntimeError(f"the reference {self.name()} of {atoms} did not converge")
        return float(mean_field.e_tot), -np.asarray(mean_field.nuc_grad_method().kernel())


METHODS = (
    Method(),
    Method(density_fit=True),
    Method("b3lyp"),
    Method("b3lyp", density_fit=True, dispersion=True),
    Method("b3lyp", solvent=True),
)
ETHANOL = (Method(), Method("b3lyp"), Method("b3lyp", True, True, True))


def errors(calculator: PySCFCalculator, atoms: Atoms, expected: tuple[float, Floats]) -> Any:
    """Distances from the reference, and the cycles needed."""
    atoms.calc = calculator
    energy, cycles = atoms.get_potential_energy(), calculator.last_call.scf_cycles
    forces = atoms.get_forces()
    return {
        "dE": abs(energy / Hartree - expected[0]),
        "max_dF": float(abs(forces * Bohr / Hartree - expected[1]).max()),
        "scf_cycles": cycles,
    }


def against_pyscf(method: Method, atoms: Atoms, basis: str, multiplicity: int) -> dict[str, Any]:
    """Cold and warm starts at the default convergence and a tight one."""
    expected = method.reference(atoms, basis, multiplicity)
    velocity = np.random.default_rng(1).normal(0.0, 0.01, atoms.positions.shape)
    found: dict[str, Any] = {}
    for tolerance in (1e-9, TIGHT):
        cold = method.calculator(basis, multiplicity, conv_tol=tolerance)
        found[f"cold_{tolerance:g}"] = errors(cold, atoms.copy(), expected)
        warm = method.calculator(basis, multiplicity, conv_tol=tolerance)
        for back in (3, 2, 1):
            earlier = atoms.copy()
            earlier.positions -= back * velocity
            earlier.calc = warm
            earlier.get_potential_energy()
        found[f"warm_{tolerance:g}"] = errors(warm, atoms.copy(), expected)
        if warm.totals.retries:
            raise RuntimeError(f"{method.name()}: a warm start had to be given up")
    return found


def derivative(energy: Callable[[float], float]) -> float:
    """Central difference of fourth order."""
    near, far = (energy(x) - energy(-x) for x in (STEP, 2 * STEP))
    return (8 * near - far) / (12 * STEP)


def against_differences(
    method: Method, atoms: Atoms, basis: str, multiplicity: int
) -> dict[str, float]:
    """Largest error of the forces on some coordinates; for functionals also with grid response."""
    calculator = method.calculator(basis, multiplicity, conv_tol=TIGHT)
    rng = np.random.default_rng(2)
    chosen = rng.choice(atoms.positions.size, COORDINATES, replace=False)
    slopes = []
    for index in chosen:

        def energy(x: float, index: int = int(index)) -> float:
            moved = atoms.copy()
            moved.positions.ravel()[index] += x
            moved.calc = calculator
            return float(moved.get_potential_energy())

        slopes.append(-derivative(energy))
    found: dict[str, float] = {}
    for response in (False, True) if method.xc else (False,):
        still = atoms.copy()
        still.calc = calculator
        calculator.set(grid_response=response)
        gap = still.get_forces().ravel()[chosen] - np.array(slopes)
        name = "max_error_with_grid_response" if response else "max_error"
        found[name] = float(abs(gap).max()) * Bohr / Hartree
    return found


def systems() -> list[tuple[str, Atoms, str, int, tuple[Method, ...]]]:
    """Name, atoms, basis, multiplicity and methods."""
    made: list[tuple[str, Atoms, str, int, tuple[Method, ...]]] = []
    for name, multiplicity in (("H2O", 1), ("NH3", 1), ("CH3", 2), ("O2", 3)):
        atoms = molecule(name)
        atoms.set_initial_magnetic_moments(None)
        made.append((name, atoms, "def2-svp", multiplicity, METHODS))
    ethanol = named_molecule("ethanol")
    ethanol.info.clear()
    made.append(("ethanol", ethanol, "sto-3g", 1, ETHANOL))
    rng = np.random.default_rng(0)
    for _, atoms, *_ in made:
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    return made


def main() -> None:
    """Measure and write."""
    rows: list[dict[str, Any]] = []
    for name, atoms, basis, multiplicity, methods in systems():
        for method in methods:
            started = time.perf_counter()
            row = {
                "molecule": name,
                "method": ("R" if multiplicity == 1 else "U") + f" {method.name()}",
                "basis": basis,
                **against_pyscf(method, atoms, basis, multiplicity),
                "finite_differences": against_differences(method, atoms, basis, multiplicity),
            }
            rows.append(row)
            print(row, f"{time.perf_counter() - started:.0f} s", flush=True)
    largest = {
        f"{start}_{tolerance:g}": {
            key: max(row[f"{start}_{tolerance:g}"][key] for row in rows) for key in ("dE", "max_dF")
        }
        for start in ("cold", "warm")
        for tolerance in (1e-9, TIGHT)
    }
    differences: dict[str, float] = {}
    for row in rows:
        functional = "b3lyp" in row["method"]
        for key, value in row["finite_differences"].items():
            kind = key if functional or key != "max_error" else "max_error_hartree_fock"
            differences[kind] = max(differences.get(kind, 0.0), value)
    write_result(
        "pyscf_accuracy",
        {"what": __doc__, "largest": {**largest, "finite_differences": differences}, "rows": rows},
    )


if __name__ == "__main__":
    main()
