"""One-electron levels of a converged mean field, under the names that ASE has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import PropertyNotPresent
from scipy.special import erfcinv

from kstep_integrators import units
from kstep_integrators.calculators.pyscf.device import to_host

__all__ = ["LevelsOfResults", "fermi_level", "levels"]

_Floats = npt.NDArray[np.float64]

PARTLY = 1e-9
"""Occupations this far from empty and full are those of a smearing."""


def levels(mean_field: Any) -> dict[str, Any]:
    """Eigenvalues, occupations and k-points, named as in :mod:`ase.outputs`.

    Parameters
    ----------
    mean_field : converged mean-field object

    Returns
    -------
    dict
        ``eigenvalues`` (n_spins, n_kpoints, n_bands) eV; ``occupations``, likewise, of at most 2 if
        there is one spin, and without the weights; ``fermi_level`` eV; ``ibz_kpoints`` and
        ``bz_kpoints`` (n_kpoints, 3) in reciprocal lattice vectors; ``kpoint_weights``, and
        ``bz_to_ibz_map``. A restricted open shell has one set of levels, occupied by 2, 1 or 0. An
        isolated molecule has the k-point 0.
    """
    periodic = hasattr(mean_field.mol, "lattice_vectors")
    kpoints = _kpoints(mean_field) if periodic else _gamma()
    shape = (-1, len(kpoints["ibz_kpoints"]))
    energies, filled = (
        _by_spin(values, shape) for values in (mean_field.mo_energy, mean_field.mo_occ)
    )
    energies = energies * units.HARTREE
    return {
        "eigenvalues": energies,
        "occupations": filled,
        "fermi_level": fermi_level(
            energies,
            filled / (2.0 if len(filled) == 1 else 1.0),
            float(getattr(mean_field, "sigma", None) or 0.0) * units.HARTREE,
            str(getattr(mean_field, "smearing_method", None)),
        ),
        **kpoints,
    }


def _gamma() -> dict[str, Any]:
    at_rest = {"ibz_kpoints": np.zeros((1, 3)), "bz_kpoints": np.zeros((1, 3))}
    return {**at_rest, "kpoint_weights": np.ones(1), "bz_to_ibz_map": np.zeros(1, dtype=np.int64)}


def _kpoints(mean_field: Any) -> dict[str, Any]:
    """The mesh of a crystal, reduced by symmetry if the user's own object is."""
    cell = mean_field.mol
    mesh = getattr(mean_field, "kpts", None)
    if mesh is None:
        mesh = mean_field.kpt
    if hasattr(mesh, "kpts_ibz"):
        return {
            "ibz_kpoints": np.array(mesh.kpts_scaled_ibz),
            "bz_kpoints": np.array(mesh.kpts_scaled),
            "kpoint_weights": np.array(mesh.weights_ibz),
            "bz_to_ibz_map": np.array(mesh.bz2ibz, dtype=np.int64),
        }
    scaled = np.reshape(cell.get_scaled_kpts(np.reshape(to_host(mesh), (-1, 3))), (-1, 3))
    count = len(scaled)
    return {
        "ibz_kpoints": scaled,
        "bz_kpoints": scaled.copy(),
        "kpoint_weights": np.full(count, 1.0 / count),
        "bz_to_ibz_map": np.arange(count),
    }


def _by_spin(values: Any, shape: tuple[int, int]) -> _Floats:
    """Values (n_spins, n_kpoints, n_bands) of what PySCF has as arrays, lists and lists of them."""
    if isinstance(values, list | tuple):
        values = np.array([np.asarray(to_host(one)) for one in values])
    array = np.asarray(to_host(values), dtype=np.float64)
    return array.reshape(*shape, array.shape[-1])


def fermi_level(energies: _Floats, filled: _Floats, width: float = 0.0, kind: str = "") -> float:
    """The level up to which states are filled, eV.

    Parameters
    ----------
    energies : array, eV
    filled : array
        Occupation of each by 0 to 1.
    width : float
        Of a smearing, eV.
    kind : str
        ``"fermi"`` or ``"gauss"``.

    Returns
    -------
    float
        Under a smearing, its chemical potential; else the middle between the highest level with
        electrons and the lowest with room, or the highest where none has.

    Examples
    --------
    >>> fermi_level(np.array([-9.0, -5.0, 1.0]), np.array([1.0, 1.0, 0.0]))
    -2.0
    """
    partly = (filled > PARTLY) & (filled < 1.0 - PARTLY)
    if width > 0.0 and partly.any():
        nearest = int(np.abs(filled - 0.5).argmin())
        energy, part = float(energies.flat[nearest]), float(filled.flat[nearest])
        if kind == "fermi":
            return energy + width * float(np.log(part / (1.0 - part)))
        return energy - width * float(erfcinv(2.0 * part))
    highest = float(energies[filled > PARTLY].max())
    empty = energies[filled < 1.0 - PARTLY]
    return highest if not len(empty) else (highest + float(empty.min())) / 2.0


class LevelsOfResults:
    """The methods of a calculator that :mod:`ase.dft` and users ask for levels."""

    results: dict[str, Any]

    def _level(self, name: str) -> Any:
        results: Mapping[str, Any] = self.results
        if name not in results:
            raise PropertyNotPresent(
                f"{name}: nothing is computed with these settings; ask for an energy first, "
                "atoms.get_potential_energy()"
            )
        return results[name]

    def _of(self, name: str, kpt: int, spin: int) -> _Floats:
        values: _Floats = self._level(name)
        for asked, index, count in (("spin", spin, len(values)), ("kpt", kpt, values.shape[1])):
            if not 0 <= index < count:
                raise ValueError(
                    f"{asked} is {index}, expected 0 to {count - 1}: there are {count}"
                )
        return np.array(values[spin, kpt])

    def get_eigenvalues(self, kpt: int = 0, spin: int = 0) -> _Floats:
        """Energies of the levels of a k-point and spin, (n_bands,) eV."""
        return self._of("eigenvalues", kpt, spin)

    def get_occupation_numbers(self, kpt: int = 0, spin: int = 0) -> _Floats:
        """Electrons in each, (n_bands,), at most 2 if there is one spin."""
        return self._of("occupations", kpt, spin)

    def get_fermi_level(self) -> float:
        """The level up to which states are filled, eV; without smearing the middle of the gap."""
        return float(self._level("fermi_level"))

    def get_homo_lumo(self, spin: int | None = None) -> tuple[float, float]:
        """The highest level with an electron, and the lowest without, eV, of one spin or of both.

        A level that an open shell fills by one electron is the highest; without an empty level, the
        second is infinite.
        """
        energies, filled = self._level("eigenvalues"), self._level("occupations")
        if spin is not None:
            if spin not in range(len(energies)):
                raise ValueError(f"spin is {spin!r}, expected 0 to {len(energies) - 1}, or None")
            energies, filled = energies[spin], filled[spin]
        occupied = filled > PARTLY
        return (
            float(energies[occupied].max(initial=-np.inf)),
            float(energies[~occupied].min(initial=np.inf)),
        )

    def get_number_of_electrons(self) -> float:
        """Electrons that are computed, those of effective core potentials excepted."""
        filled = self._level("occupations").sum((0, 2))
        return float(np.dot(filled, self._level("kpoint_weights")))

    def get_number_of_spins(self) -> int:
        """2 for unrestricted methods, else 1."""
        return len(self._level("eigenvalues"))

    def get_spin_polarized(self) -> bool:
        """True if the two spins have levels of their own."""
        return self.get_number_of_spins() == 2

    def get_number_of_bands(self) -> int:
        """Levels of each k-point and spin."""
        return int(self._level("eigenvalues").shape[2])

    def get_ibz_k_points(self) -> _Floats:
        """K-points that are computed, (n_kpoints, 3) in reciprocal lattice vectors."""
        return np.array(self._level("ibz_kpoints"))

    def get_bz_k_points(self) -> _Floats:
        """K-points of the whole mesh, (n, 3) in reciprocal lattice vectors."""
        return np.array(self._level("bz_kpoints"))

    def get_bz_to_ibz_map(self) -> npt.NDArray[np.int64]:
        """Which of those that are computed stands for each of the mesh, (n,)."""
        return np.array(self._level("bz_to_ibz_map"))

    def get_k_point_weights(self) -> _Floats:
        """Weights of the k-points that are computed, (n_kpoints,); their sum is 1."""
        return np.array(self._level("kpoint_weights"))
