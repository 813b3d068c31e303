"""Orbitals of one molecule or dimer, the same whichever code computed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CARRIERS", "Orbitals", "check_carrier", "inverse_root", "root"]

Array = NDArray[np.float64]

CARRIERS: Final = ("hole", "electron")
"""A hole moves between the highest occupied orbitals, an electron between the lowest empty ones."""


@dataclass(frozen=True)
class Orbitals:
    """Orbitals of a closed shell.

    Attributes
    ----------
    coefficients : (n, m) float64
        Orbitals in columns, ascending in energy, normalized with ``overlap``; ``m`` may be less
        than ``n`` where a code has dropped linearly dependent functions.
    energies : (m,) float64
        eV.
    occupied : int
        Doubly occupied orbitals.
    overlap : (n, n) float64
        Of the basis functions.
    atom : (n,) int64
        Atom of each basis function, ascending.
    shapes : (N, 4, m) float64
        Each orbital in orthogonalized valence functions s, px, py, pz of the atoms.
    """

    coefficients: Array
    energies: Array
    occupied: int
    overlap: Array
    atom: NDArray[np.int64]
    shapes: Array

    def frontier(self, carrier: str) -> int:
        """Index of the highest occupied orbital (hole) or of the lowest empty one (electron)."""
        check_carrier(carrier)
        index = self.occupied - (carrier == "hole")
        if not 0 <= index < len(self.energies):
            raise ValueError(
                f"the basis has {len(self.energies)} orbitals of which {self.occupied} are "
                f"occupied: there is none for carrier={carrier!r}; take a larger basis"
            )
        return index

    def mixed(self, weights: Array) -> Array:
        """Shape (N, 4) of a mixture of the orbitals with weights (m,)."""
        return np.asarray(self.shapes @ weights)

    def candidates(self, carrier: str) -> range:
        """Indices of the orbitals that a carrier can be in."""
        frontier = self.frontier(carrier)
        return range(frontier + 1) if carrier == "hole" else range(frontier, len(self.energies))


def check_carrier(carrier: object) -> None:
    """Refuse carriers of charge that are neither holes nor electrons.

    Raises
    ------
    ValueError
    """
    if carrier not in CARRIERS:
        raise ValueError(
            f"carrier is {carrier!r}, expected 'hole' (highest occupied orbitals) or 'electron' "
            "(lowest empty orbitals)"
        )


def root(matrix: Array) -> Array:
    """Square root of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def inverse_root(matrix: Array) -> Array:
    """Inverse square root of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
