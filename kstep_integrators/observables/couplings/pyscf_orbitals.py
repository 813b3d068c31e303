"""Orbitals of Hartree-Fock and density functional theory, by PySCF."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms

from kstep_integrators.calculators.pyscf.threads import openmp_threads
from kstep_integrators.observables.couplings.orbitals import Array, Orbitals, inverse_root
from kstep_integrators.units import HARTREE

__all__ = ["MeanField", "mean_field", "parse_method"]

CONVERGENCE: Final = 1e-9
"""hartree; orbital energies are then good to some 1e-5 eV."""


@dataclass(frozen=True)
class MeanField:
    """A converged mean field of one molecule or dimer.

    Attributes
    ----------
    orbitals : Orbitals
    density : (n, n) float64
        Density matrix.
    fock : (n, n) float64
        eV.
    """

    orbitals: Orbitals
    density: Array
    fock: Array


def parse_method(method: str) -> tuple[str, str]:
    """Functional (or ``"HF"``) and basis of a name such as ``"PBE0/def2-SVP"``.

    Raises
    ------
    ValueError
        If it is no such name, or PySCF does not know the functional.
    """
    functional, slash, basis = method.partition("/")
    if not (functional.strip() and slash and basis.strip()):
        raise ValueError(
            f"method is {method!r}, expected 'GFN2-xTB', 'GFN1-xTB', or a functional and a basis "
            "of PySCF, as 'HF/def2-SVP' or 'PBE0/def2-SVP'"
        )
    functional, basis = functional.strip(), basis.strip()
    if functional.upper() == "HF":
        return "HF", basis
    try:
        from pyscf.dft import libxc
    except ImportError as error:
        raise _missing(method) from error
    try:
        libxc.parse_xc(functional)
    except Exception as error:
        raise ValueError(
            f"method is {method!r}, and PySCF does not know the functional {functional!r} "
            f"({error}); examples: 'HF', 'PBE0', 'B3LYP', 'CAM-B3LYP'"
        ) from error
    return functional, basis


def mean_field(
    atoms: Atoms,
    functional: str,
    basis: str,
    parts: Sequence[MeanField] = (),
    threads: int | None = None,
) -> MeanField:
    """Mean field of a neutral closed shell, with density fitting.

    Parameters
    ----------
    atoms : ase.Atoms
    functional : str
        A name of PySCF, or ``"HF"``.
    basis : str
    parts : sequence of MeanField
        Of the molecules that it consists of, in the order of its atoms: where the iterations begin.
    threads : int, optional
        Of PySCF; what the process is set to by default.

    Raises
    ------
    ImportError
        If PySCF is missing.
    ValueError
        If the basis does not cover the elements.
    RuntimeError
        If the iterations do not converge.
    """
    try:
        from pyscf import dft, gto, scf
    except ImportError as error:
        raise _missing(f"{functional}/{basis}") from error
    formula = atoms.get_chemical_formula()
    sites = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    with warnings.catch_warnings(), openmp_threads(threads):
        warnings.simplefilter("ignore")
        try:
            molecule = gto.M(atom=sites, basis=basis, ecp=_ecp(basis, atoms), verbose=0)
        except Exception as error:
            raise ValueError(
                f"PySCF has no basis {basis!r} for {formula}: {' '.join(str(error).split())}. "
                "Choose one that covers the elements, as 'def2-SVP'"
            ) from error
        field = scf.RHF(molecule) if functional == "HF" else dft.RKS(molecule, xc=functional)
        field = field.density_fit()
        field.conv_tol = CONVERGENCE
        field.kernel(dm0=_begin(parts))
        if not field.converged:
            field = field.newton()
            field.kernel(field.mo_coeff, field.mo_occ)
        if not field.converged:
            raise RuntimeError(
                f"the SCF of {functional}/{basis} did not converge for {formula}; the molecules "
                "may be too close to each other, or the method may not suit them"
            )
        density = np.asarray(field.make_rdm1())
        overlap, coefficients = molecule.intor("int1e_ovlp"), np.asarray(field.mo_coeff)
        orbitals = Orbitals(
            coefficients=coefficients,
            energies=np.asarray(field.mo_energy) * HARTREE,
            occupied=int(np.sum(field.mo_occ > 1.0)),
            overlap=overlap,
            atom=_atom_of_functions(molecule),
            shapes=_shapes(molecule, coefficients),
        )
        focks = coefficients.T @ overlap
        fock = (focks.T * orbitals.energies) @ focks
    return MeanField(orbitals, density, fock)


def _begin(parts: Sequence[MeanField]) -> Array | None:
    """Density matrix of molecules that do not feel each other; None leaves it to PySCF."""
    if not parts:
        return None
    from scipy.linalg import block_diag

    return np.asarray(block_diag(*(part.density for part in parts)))


def _ecp(basis: str, atoms: Atoms) -> Any:
    """Effective core potentials that the def2 bases of elements beyond krypton come with."""
    return basis if basis.lower().startswith("def2") and int(atoms.numbers.max()) > 36 else {}


def _atom_of_functions(molecule: Any) -> Any:
    labels = molecule.ao_labels(fmt=None)
    return np.array([label[0] for label in labels], dtype=np.int64)


def _shapes(molecule: Any, coefficients: Array) -> Array:
    """Components of orbitals in the outermost s and p functions of the free atoms."""
    from pyscf import gto
    from pyscf.lo.iao import reference_mol

    minimal = reference_mol(molecule)
    onto = gto.intor_cross("int1e_ovlp", minimal, molecule) @ coefficients
    vectors = inverse_root(minimal.intor("int1e_ovlp")) @ onto
    shapes = np.zeros((molecule.natm, 4, coefficients.shape[1]))
    rows = {"s": 0, "px": 1, "py": 2, "pz": 3}
    for function, (atom, _, shell, direction) in enumerate(minimal.ao_labels(fmt=None)):
        row = rows.get(shell.lstrip("0123456789") + direction)
        if row is not None:  # inner shells come first, and are written over by the outer ones
            shapes[atom, row] = vectors[function]
    return shapes


def _missing(method: str) -> ImportError:
    return ImportError(
        f"couplings by {method} need PySCF, which is not installed; install it with: "
        "pip install 'kstep-integrators[pyscf]'"
    )
