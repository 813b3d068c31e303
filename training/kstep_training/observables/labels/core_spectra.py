r"""Core-level excitations by time-dependent density functional theory.

Only the 1s orbitals of the absorbing element are excited from (core-valence separation), so the
matrices A and B of the response are small and are diagonalized as a whole: all excitations up to
the highest virtual orbital at once, in less time than an iterative solver takes for the first few.
Energies are those of the functional: no relativistic shift (0.1 eV at carbon, 0.4 eV at oxygen) and
no correction for the self-interaction of the core hole (about 10 eV at carbon with CAM-B3LYP) is
in them, both nearly the same for all structures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators.calculators.electrons import Electrons
from kstep_integrators.calculators.pyscf.settings import Settings
from kstep_integrators.units import HARTREE
from kstep_training.observables.labels.frame_labels import FrameFailed

__all__ = ["CoreExcitations", "CoreLevels", "core_excitations"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoreLevels:
    """Level of theory of core excitations.

    Attributes
    ----------
    xc : str
        Functional, in PySCF's words; ``hf`` for Hartree-Fock.
    basis : str
    tda : bool
        Tamm-Dancoff approximation: without B, the de-excitations.
    grid : int
        Level of the integration grid of the functional, 0 to 9.
    charge : int
        Of the molecule, whose electrons are paired.
    density_fit : bool
        Integrals of the ground state by density fitting, in a third of the time; energies move by
        1 meV or so.
    cycles : int
        Of the self-consistent field, at most.

    Examples
    --------
    >>> CoreLevels(basis="6-31g").xc
    'camb3lyp'
    """

    xc: str = "camb3lyp"
    basis: str = "def2-svp"
    tda: bool = False
    grid: int = 2
    charge: int = 0
    density_fit: bool = True
    cycles: int = 100


@dataclass(frozen=True)
class CoreExcitations:
    """Excitations from the 1s orbitals of one element, by rising energy.

    Attributes
    ----------
    absorbers : (A,) int
        Atoms of the element.
    energies : (n,) eV
    strengths : (n,)
        Oscillator strengths, in the length gauge.
    shares : (n, A)
        Parts of the strengths by absorbers, whose sum they are; those of one excitation may have
        either sign.
    hole : (n, A)
        Share of each absorber in the core hole; sums to 1 over the absorbers.
    """

    absorbers: npt.NDArray[np.int64]
    energies: Array
    strengths: Array
    shares: Array
    hole: Array


def core_excitations(
    atoms: Atoms, element: str, levels: CoreLevels | None = None
) -> CoreExcitations:
    r"""All excitations of a molecule from the 1s orbitals of an element.

    With :math:`(A - B)(A + B)(X + Y) = \omega^2 (X + Y)`, strengths are :math:`\frac{2}{3} \omega
    |\sqrt{2} \sum_{ia} (X + Y)_{ia} \langle i | r | a \rangle|^2` (doi:10.1142/9789812830586_0005).
    The moment d of a transition is a sum over absorbers, each with its own 1s orbital, and shares
    of the strength are as :math:`d_a \cdot d`: quadratic in the excitation, so that the spectrum of
    an absorber, unlike strengths times holes, is the same whichever way nearly equal excitations of
    two atoms mix, and smooth as the atoms move.
    The hole is :math:`\gamma_{ij} = \sum_a X_{ia} X_{ja} + Y_{ia} Y_{ja}` with the coherence of its
    orbitals, and each absorber has its Löwdin population, so that a hole of two equal atoms may sit
    on one of them although their orbitals are spread over both.

    Parameters
    ----------
    atoms : ase.Atoms
        Isolated, with paired electrons.
    element : str
        Such as ``"C"``.
    levels : CoreLevels, optional

    Raises
    ------
    ValueError
        If there is no atom of the element, the molecule is periodic or has unpaired electrons, or
        PySCF does not know the functional or the basis, or the basis is one for effective core
        potentials.
    FrameFailed
        If the self-consistent field does not converge, or its solution is not a minimum.

    Examples
    --------
    >>> water = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    >>> found = core_excitations(water, "O", CoreLevels(basis="sto-3g"))
    >>> len(found.energies), found.hole[:, 0].round(9)
    (2, array([1., 1.]))
    """
    levels = levels or CoreLevels()
    absorbers = np.array([i for i, atom in enumerate(atoms) if atom.symbol == element], dtype=int)
    if not len(absorbers):
        raise ValueError(
            f"no atom of {atoms.get_chemical_formula()} is {element!r}; name an element that is in "
            "the molecule, such as element=C"
        )
    field = _converged(atoms, levels)
    core, local = _core_orbitals(field, absorbers, element)
    virtual = np.flatnonzero(field.mo_occ == 0.0)
    energies, x, y = _response(field, core, levels.tda)
    shape = (len(core), len(virtual), -1)
    plus = np.einsum("Ai,ian->Aan", local, (x + y).reshape(shape))
    dipoles = np.einsum("Ai,cia->cAa", local, _dipoles(field, core, virtual))
    moments = np.sqrt(2.0) * np.einsum("cAa,Aan->cAn", dipoles, plus)
    shares = 2.0 / 3.0 * energies * (moments * moments.sum(axis=1, keepdims=True)).sum(axis=0)
    hole = _hole(field, core, absorbers, (x.reshape(shape), y.reshape(shape)))
    return CoreExcitations(absorbers, energies * HARTREE, shares.sum(axis=0), shares.T, hole)


def _converged(atoms: Atoms, levels: CoreLevels) -> Any:
    """The ground state, a mean-field object of PySCF."""
    try:
        import pyscf  # noqa: F401

        from kstep_integrators.calculators.pyscf.meanfield import build, check_names
    except ImportError as error:
        raise ImportError(
            "core excitations need PySCF, which is not installed; install it with: pip install "
            "'kstep-integrators[pyscf]'"
        ) from error
    if atoms.pbc.any():
        raise ValueError(
            f"pbc is {atoms.pbc.tolist()}, expected an isolated molecule; core excitations of "
            "periodic systems are not computed"
        )
    electrons = int(atoms.numbers.sum()) - levels.charge
    if electrons % 2:
        raise ValueError(
            f"{atoms.get_chemical_formula()} of charge {levels.charge} has {electrons} electrons, "
            "expected an even number: excitations of open shells are not computed"
        )
    hf = levels.xc.lower() == "hf"
    settings = Settings(
        method="hf" if hf else None,
        xc=None if hf else levels.xc,
        basis=levels.basis,
        density_fit=levels.density_fit,
        grid_level=levels.grid,
        max_cycle=levels.cycles,
    )
    check_names(settings)
    field = build(settings, atoms, Electrons(levels.charge, 1))
    field.kernel()
    if not field.converged:
        raise FrameFailed(f"the SCF did not converge in {levels.cycles} cycles")
    return field


def _core_orbitals(
    field: Any, absorbers: npt.NDArray[np.int64], element: str
) -> tuple[npt.NDArray[np.int64], Array]:
    """Occupied orbitals made of the absorbers' 1s functions, and their rotation (A, A) to each."""
    from pyscf import gto

    # The minimal basis has the 1s function of each atom as its first.
    free = gto.M(
        atom=[(element, field.mol.atom_coord(i)) for i in absorbers],
        unit="Bohr",
        basis="minao",
        spin=None,
        verbose=0,
    )
    first = [start for start, *_ in free.aoslice_by_atom()[:, 2:]]
    occupied = np.flatnonzero(field.mo_occ == 2.0)
    overlap = gto.intor_cross("int1e_ovlp", free, field.mol)[first] @ field.mo_coeff[:, occupied]
    share = (overlap**2).sum(axis=0)
    chosen = np.sort(np.argsort(-share)[: len(absorbers)])
    # The orthogonal matrix that is nearest to the overlaps.
    left, _, right = np.linalg.svd(overlap[:, chosen])
    return occupied[chosen], left @ right


def _response(field: Any, core: npt.NDArray[np.int64], tda: bool) -> tuple[Array, Array, Array]:
    """Energies (n,) hartree, X and Y (core x virtual, n), by rising energy."""
    frozen = [i for i in np.flatnonzero(field.mo_occ == 2.0) if i not in core]
    solver = field.TDA() if tda else field.TDHF() if _is_hf(field) else field.TDDFT()
    a, b = solver.get_ab(frozen=frozen or None)
    size = a.shape[0] * a.shape[1]
    a, b = a.reshape(size, size), b.reshape(size, size)
    if tda:
        energies, x = np.linalg.eigh(a)
        return energies, x, np.zeros_like(x)
    values, vectors = np.linalg.eigh(a - b)
    if min(values[0], np.linalg.eigvalsh(a + b)[0]) <= 0.0:
        raise FrameFailed("the ground state is unstable against its core excitations")
    root = (vectors * np.sqrt(values)) @ vectors.T
    squares, z = np.linalg.eigh(root @ (a + b) @ root)
    energies = np.sqrt(squares)
    plus = root @ z / np.sqrt(energies)
    minus = np.linalg.solve(root, z) * np.sqrt(energies)
    return energies, (plus + minus) / 2.0, (plus - minus) / 2.0


def _is_hf(field: Any) -> bool:
    return not hasattr(field, "xc")


def _dipoles(field: Any, core: npt.NDArray[np.int64], virtual: npt.NDArray[np.int64]) -> Array:
    """Transition dipoles (3, core, virtual) of orbitals; bohr."""
    integrals = field.mol.intor("int1e_r")
    c = field.mo_coeff
    found: Array = np.einsum("xpq,pi,qa->xia", integrals, c[:, core], c[:, virtual])
    return found


def _hole(
    field: Any,
    core: npt.NDArray[np.int64],
    absorbers: npt.NDArray[np.int64],
    amplitudes: tuple[Array, Array],
) -> Array:
    """Löwdin populations of the holes on the absorbers, (n, A), relative to their sum."""
    overlap = field.get_ovlp()
    values, vectors = np.linalg.eigh(overlap)
    orbitals = (vectors * np.sqrt(values)) @ vectors.T @ field.mo_coeff[:, core]
    # Orbital populations (A, core, core) of each absorber, and the hole (n, core, core).
    slices = field.mol.aoslice_by_atom()[absorbers, 2:]
    populations = np.array([orbitals[p:q].T @ orbitals[p:q] for p, q in slices])
    density = sum(np.einsum("ian,jan->nij", part, part) for part in amplitudes)
    shares: Array = np.einsum("nij,Aij->nA", density, populations)
    normalized: Array = shares / shares.sum(axis=1, keepdims=True)
    return normalized
