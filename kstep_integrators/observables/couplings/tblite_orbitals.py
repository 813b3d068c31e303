"""Orbitals, populations and moments of GFN1-xTB and GFN2-xTB, by tblite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kstep_integrators.observables.couplings.orbitals import Array, Orbitals, root
from kstep_integrators.units import BOHR, HARTREE

__all__ = ["TIGHT_BINDING", "TightBinding", "tight_binding"]

TIGHT_BINDING: Final = ("GFN2-xTB", "GFN1-xTB")

ACCURACY: Final = 1e-3
"""Of tblite's self-consistency, in its own unit: symmetries of couplings hold to some 1e-9 eV."""

P_AXES: Final = (1, 2, 0)
"""Axis of each p function of a shell: tblite has y, z, x."""


@dataclass(frozen=True)
class TightBinding:
    """Results of a tight-binding calculation of one molecule or dimer.

    Attributes
    ----------
    orbitals : Orbitals
    populations : (N, 3) float64
        Mulliken's electrons in s, p and d functions of each atom.
    dipole : (3,) float64
        e angstrom.
    quadrupole : (6,) float64
        e angstrom^2 about the mean of the positions, traceless: xx, xy, yy, xz, yz, zz of the sum
        over charges of q (3/2 r_i r_j - 1/2 r^2 delta_ij).
    """

    orbitals: Orbitals
    populations: Array
    dipole: Array
    quadrupole: Array


def tight_binding(atoms: Atoms, method: str = "GFN2-xTB") -> TightBinding:
    """Orbitals, populations and moments of a neutral closed shell.

    Parameters
    ----------
    atoms : ase.Atoms
    method : str
        ``"GFN2-xTB"`` or ``"GFN1-xTB"``.

    Raises
    ------
    ImportError
        If tblite is missing.
    RuntimeError
        If the charges do not become self-consistent.
    """
    interface, failed = _tblite()
    centred = (atoms.positions - atoms.positions.mean(0)) / BOHR
    calculator = interface.Calculator(method, atoms.numbers, centred, charge=0.0, uhf=0)
    for name, value in (("verbosity", 0), ("save-integrals", 1), ("accuracy", ACCURACY)):
        calculator.set(name, value)
    calculator.add("xtbml_xyz")  # multipoles of the atoms
    try:
        result = calculator.singlepoint()
    except failed as error:
        raise RuntimeError(
            f"{method} failed for {atoms.get_chemical_formula()}: {' '.join(str(error).split())}. "
            "Atoms may be too close to each other"
        ) from error
    shells = np.asarray(calculator.get("orbital-map"))
    atom = np.asarray(calculator.get("shell-map"))[shells].astype(np.int64)
    angular = np.asarray(calculator.get("angular-momenta"))[shells].astype(np.int64)
    overlap = result.get("overlap-matrix")
    coefficients = result.get("orbital-coefficients")
    electrons = np.einsum("ij,ji->i", result.get("density-matrix"), overlap)
    populations = np.zeros((len(atoms), 3))
    np.add.at(populations, (atom, angular), electrons)
    orbitals = Orbitals(
        coefficients=coefficients,
        energies=result.get("orbital-energies") * HARTREE,
        occupied=round(float(result.get("orbital-occupations").sum()) / 2.0),
        overlap=overlap,
        atom=atom,
        shapes=_shapes(root(overlap) @ coefficients, shells, atom, angular, len(atoms)),
    )
    moments = _moments(centred, result.get("charges"), result.get("post-processing-dict"))
    return TightBinding(orbitals, populations, *moments)


def _moments(positions: Array, charges: Array, atomic: dict[str, Array]) -> tuple[Array, Array]:
    """Dipole (3,) e angstrom and quadrupole (6,) e angstrom^2 of positions in bohr.

    Summed up here: in tblite's own molecular quadrupole (0.8.0) the charges and dipoles of atoms
    count twice off the diagonal, and it does not turn with the molecule.
    """
    dipoles = np.stack([atomic[f"dipm_A_{axis}"] for axis in "xyz"], axis=1)
    outer = np.einsum("ai,aj->ij", positions, charges[:, None] * positions + dipoles)
    second = outer + np.einsum("ai,aj->ij", dipoles, positions)
    traceless = 1.5 * second - 0.5 * np.trace(second) * np.eye(3)
    components = ("xx", "xy", "yy", "xz", "yz", "zz")
    own = np.array([float(np.sum(atomic[f"qm_A_{pair}"])) for pair in components])
    quadrupole = own + traceless[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    dipole = (charges[:, None] * positions + dipoles).sum(0)
    return dipole * BOHR, quadrupole * BOHR**2


def _shapes(
    vectors: Array,
    shells: NDArray[np.int64],
    atom: NDArray[np.int64],
    angular: NDArray[np.int64],
    count: int,
) -> Array:
    """Components of orbitals in the first s and the first p shell of each atom."""
    shapes = np.zeros((count, 4, vectors.shape[1]))
    for index in range(count):
        for moment, rows in ((0, (0,)), (1, tuple(1 + axis for axis in P_AXES))):
            functions = np.flatnonzero((atom == index) & (angular == moment))
            if len(functions):
                shell = functions[shells[functions] == shells[functions[0]]]
                shapes[index, list(rows)] = vectors[shell]
    return shapes


def _tblite() -> tuple[Any, type[Exception]]:
    try:
        from tblite import interface
        from tblite.exceptions import TBLiteRuntimeError
    except ImportError as error:
        raise ImportError(
            "couplings by GFN2-xTB need tblite, which is not installed; install it with: "
            "pip install 'kstep-integrators[xtb]'"
        ) from error
    return interface, TBLiteRuntimeError
