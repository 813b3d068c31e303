"""Properties of a converged mean field, in ASE units."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress

from kstep_integrators import units
from kstep_integrators.calculators.pyscf.density import Array, mulliken_charges
from kstep_integrators.calculators.pyscf.device import to_host

__all__ = ["bands", "charges", "dipole", "energies", "forces_and_stress", "moments"]

_Floats = npt.NDArray[np.float64]


def energies(mean_field: Any) -> tuple[float, float]:
    """Energy and free energy, eV.

    They differ under smearing only, where the forces belong to the free energy and the energy is
    the one extrapolated to zero width.
    """
    total = float(mean_field.e_tot)
    free = getattr(mean_field, "e_free", None)
    if free is None:
        return total * units.HARTREE, total * units.HARTREE
    zero = getattr(mean_field, "e_zero", None)
    return float(total if zero is None else zero) * units.HARTREE, float(free) * units.HARTREE


@contextmanager
def _lacking(mean_field: Any, what: str) -> Iterator[None]:
    """Say in ASE's way what PySCF says in many: that a derivative has not been programmed."""
    said: tuple[type[Exception], ...] = (NotImplementedError,)
    if hasattr(mean_field.mol, "lattice_vectors"):
        # For crystals it is often a method or an assertion that fails.
        said = (NotImplementedError, AttributeError, AssertionError)
    try:
        yield
    except said as error:
        raise PropertyNotImplementedError(
            f"PySCF has no {what} for {type(mean_field).__name__} with these settings "
            f"({type(error).__name__}: {error})"
        ) from error


def forces_and_stress(
    mean_field: Any, grid_response: bool, wanted: Collection[str]
) -> dict[str, _Floats]:
    """Analytic derivatives of the energy.

    Parameters
    ----------
    mean_field : converged mean-field object
    grid_response : bool
        Whether the derivative of the integration grid is included (doi:10.1063/1.464906).
    wanted : collection of str
        ``"forces"``, ``"stress"`` or both.

    Returns
    -------
    dict
        ``forces`` (n_atoms, 3) eV/angstrom; ``stress`` (6,) eV/angstrom^3, xx, yy, zz, yz, xz, xy,
        positive if the crystal wants to shrink, as everywhere in ASE.

    Raises
    ------
    PropertyNotImplementedError
        If PySCF has no gradient or no stress for this method.
    """
    derivatives: dict[str, _Floats] = {}
    if hasattr(mean_field.mol, "lattice_vectors") and mean_field.do_disp():
        # Its energy has the dispersion in it, its gradient does not, and nothing says so.
        raise PropertyNotImplementedError(
            f"PySCF has no forces of dispersion for crystals, asked for with "
            f"{type(mean_field).__name__}"
        )
    with _lacking(mean_field, "forces"):
        gradient = mean_field.nuc_grad_method()
    gradient.verbose = 0
    if grid_response:
        gradient.grid_response = True
    if "forces" in wanted:
        with _lacking(mean_field, "forces"):
            slope = gradient.kernel()
        derivatives["forces"] = -to_host(slope) * (units.HARTREE / units.BOHR)
    if "stress" in wanted:
        with _lacking(mean_field, "stress"):
            tensor = gradient.get_stress()
        derivatives["stress"] = full_3x3_to_voigt_6_stress(to_host(tensor)) * (
            units.HARTREE / units.BOHR**3
        )
    return derivatives


def dipole(mean_field: Any) -> _Floats:
    """Dipole moment (3,) e angstrom, about the origin of the coordinates (it matters for ions)."""
    moment = to_host(mean_field.dip_moment(unit="AU", verbose=0))
    return np.asarray(moment, dtype=np.float64) * units.BOHR


def bands(mean_field: Any, kpoints: _Floats) -> _Floats:
    """Energies of the bands of a crystal at any k-points, in the potential of its SCF.

    Parameters
    ----------
    mean_field : converged mean-field object
    kpoints : (n, 3)
        In reciprocal lattice vectors.

    Returns
    -------
    (n_spins, n, n_bands) array, eV

    Raises
    ------
    PropertyNotImplementedError
        If PySCF has no bands for this method.
    """
    places = mean_field.mol.get_abs_kpts(kpoints)
    with _lacking(mean_field, "bands"):
        found, _ = mean_field.get_bands(places)
    energies = np.array([np.asarray(to_host(one)) for one in found], dtype=np.float64)
    return energies.reshape(-1, len(kpoints), energies.shape[-1]) * units.HARTREE


def moments(mean_field: Any) -> _Floats:
    """Magnetic moments of the atoms by Mulliken, (n_atoms,) Bohr magnetons."""
    overlap = to_host(mean_field.get_ovlp())
    density = to_host(mean_field.make_rdm1())
    if density.ndim == overlap.ndim:  # closed shells
        return np.zeros(mean_field.mol.natm)
    offsets = mean_field.mol.aoslice_by_atom()[:, 2]
    nothing = np.zeros(len(offsets))
    up, down = (mulliken_charges(one, overlap, offsets, nothing) for one in density)
    return down - up


def total_density(mean_field: Any) -> Array:
    """Density matrix of both spins together, (n, n) or (n_kpoints, n, n)."""
    density = to_host(mean_field.make_rdm1())
    spins = 2 if np.ndim(to_host(mean_field.get_ovlp())) + 1 == density.ndim else 1
    summed: Array = density.sum(0) if spins == 2 else density
    return summed


def charges(mean_field: Any) -> _Floats:
    """Mulliken charges, (n_atoms,) e."""
    molecule = mean_field.mol
    return mulliken_charges(
        total_density(mean_field),
        to_host(mean_field.get_ovlp()),
        molecule.aoslice_by_atom()[:, 2],
        molecule.atom_charges(),
    )
