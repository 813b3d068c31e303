"""Density matrices in Löwdin's basis, where those of different geometries may be mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Overlap", "from_lowdin", "mulliken_charges", "to_lowdin"]

Array = npt.NDArray[Any]


class Overlap:
    """The overlap of one geometry and its square roots.

    Parameters
    ----------
    matrix : (..., n, n)
        Overlap of the basis functions; with k-points in front for a crystal.
    """

    def __init__(self, matrix: Array) -> None:
        self.matrix = np.asarray(matrix)
        values, vectors = np.linalg.eigh(self.matrix)
        self.smallest = float(values.min())
        if self.smallest <= 0.0:
            return
        adjoint = vectors.conj().swapaxes(-1, -2)
        root = np.sqrt(values)[..., None, :]
        self.root: Array = (vectors * root) @ adjoint
        self.inverse_root: Array = (vectors / root) @ adjoint


def to_lowdin(density: Array, overlap: Overlap) -> Array:
    """``S^(1/2) P S^(1/2)``: hermitian, with the occupations as eigenvalues.

    Parameters
    ----------
    density : (..., n, n)
    overlap : Overlap

    Returns
    -------
    (..., n, n)
    """
    mixed: Array = overlap.root @ density @ overlap.root
    return mixed


def from_lowdin(mixed: Array, occupations: Array, overlap: Overlap) -> Array:
    """The nearest density with given occupations, back in the basis of a geometry.

    The natural orbitals of ``mixed`` are kept and their occupations replaced, the largest by the
    largest: for a closed shell this is the projection on the idempotent densities with the right
    number of electrons, the retraction used in Grassmann extrapolation
    (doi:10.1021/acs.jctc.1c00751).

    Parameters
    ----------
    mixed : (..., n, n)
    occupations : (..., n)
        Ascending.
    overlap : Overlap
        Of the geometry that the density is for.

    Returns
    -------
    (..., n, n)
    """
    hermitian = 0.5 * (mixed + mixed.conj().swapaxes(-1, -2))
    _, vectors = np.linalg.eigh(hermitian)
    orbitals = overlap.inverse_root @ vectors
    density: Array = (orbitals * occupations[..., None, :]) @ orbitals.conj().swapaxes(-1, -2)
    return density


def mulliken_charges(
    density: Array, overlap: Array, first_function: Array, nuclear: Array
) -> npt.NDArray[np.float64]:
    """Mulliken's net charges, ``q_A = Z_A - sum_(i in A) (P S)_ii`` (doi:10.1063/1.1740588).

    Parameters
    ----------
    density : (n, n) or (n_kpoints, n, n)
        Of both spins together. Several k-points are averaged.
    overlap : like ``density``
    first_function : (n_atoms,) int
        Index of the first basis function of each atom, ascending.
    nuclear : (n_atoms,)
        Charges of the nuclei, or of the cores that a pseudopotential leaves.

    Returns
    -------
    (n_atoms,) e
    """
    population = np.einsum("...ij,...ji->...i", density, overlap).real
    if population.ndim == 2:
        population = population.mean(0)
    charges: npt.NDArray[np.float64] = np.asarray(nuclear, dtype=np.float64)
    return charges - np.add.reduceat(population, first_function)
