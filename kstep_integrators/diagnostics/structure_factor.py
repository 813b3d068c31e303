"""Static structure factor of a periodic system at the wave vectors of its cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.diagnostics.sampling import block_error

__all__ = ["StructureFactor", "structure_factor"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BLOCKS = 10
TERMS = 4_000_000
"""Phases that are computed at once."""


@dataclass(frozen=True)
class StructureFactor:
    """Static structure factor.

    Attributes
    ----------
    vectors : (K, 3)
        1/angstrom, with the factor of 2 pi; one of each pair k, -k, by their length.
    factor : (K,)
        Average over the frames.
    error : (K,)
        Standard error from ten blocks of frames; NaN of fewer than ten frames.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    >>> found = StructureFactor(vectors, np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.4, 0.5]))
    >>> [part.tolist() for part in found.shells(0.5)]
    [[1.0, 2.0], [1.5, 4.0], [0.25, 0.5]]
    """

    vectors: Array
    factor: Array
    error: Array

    @property
    def wavenumbers(self) -> Array:
        """Lengths of the vectors, (K,), 1/angstrom."""
        return np.asarray(np.linalg.norm(self.vectors, axis=1))

    def shells(self, width: float) -> tuple[Array, Array, Array]:
        """Averages over directions: mean wavenumber, factor and error of each shell that is filled.

        Parameters
        ----------
        width : float
            Of a shell, 1/angstrom. Vectors of one shell are taken as independent for the error.

        Raises
        ------
        ValueError
            If the width is not positive.
        """
        if not width > 0.0:
            raise ValueError(f"width is {width}, expected a positive wavenumber")
        sizes = self.wavenumbers
        # Equal lengths fall into one shell despite rounding.
        number = np.floor(sizes / width + 1e-9).astype(np.int64)
        _, shell, count = np.unique(number, return_inverse=True, return_counts=True)
        mean = [np.bincount(shell, value) / count for value in (sizes, self.factor)]
        return mean[0], mean[1], np.sqrt(np.bincount(shell, self.error**2)) / count


def structure_factor(
    positions: ArrayLike,
    cell: ArrayLike,
    limit: float,
    first: ArrayLike | None = None,
    second: ArrayLike | None = None,
) -> StructureFactor:
    r"""Static structure factor from the density of each frame at the wave vectors of its cell.

    :math:`S_{ab}(k) = \langle \mathrm{Re} \, \rho_a(k) \rho_b^*(k) \rangle / \sqrt{N_a N_b}` with
    :math:`\rho_a(k) = \sum_{j \in a} e^{-i k x_j}` (Hansen & McDonald, Theory of Simple Liquids,
    4th ed., chapter 4; doi:10.1016/C2010-0-66723-X): 1 of an ideal gas, for a group with itself;
    N at the reciprocal lattice of a crystal at rest. Unlike the transform of a radial
    distribution, nothing is cut off.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3) or (N, 3), angstrom; wrapped into the cell or not.
    cell : array_like
        Shape (3, 3), angstrom, periodic in all directions. The smallest wavenumber is 2 pi over
        the largest distance of its planes: a small cell says nothing of longer waves.
    limit : float
        Largest wavenumber, 1/angstrom.
    first, second : array_like of int, optional
        Indices of the atoms of the groups; all by default, and ``second`` is ``first``.

    Raises
    ------
    ValueError
        If shapes do not fit, a group is empty, the cell has no volume, or no wave vector is within
        the limit.

    Examples
    --------
    >>> from ase.build import bulk
    >>> copper = bulk("Cu", cubic=True, a=3.6)
    >>> found = structure_factor(copper.positions, copper.cell[:], limit=3.1)
    >>> sorted(set(found.factor.round(6).tolist()))  # 4 atoms; peaks at (111) alone
    [0.0, 4.0]
    """
    x, box = np.asarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[2] != 3 or not x.size or box.shape != (3, 3):
        raise ValueError(
            f"positions and cell have shapes {np.shape(positions)} and {box.shape}; expected "
            "(F, N, 3) and (3, 3)"
        )
    if not abs(np.linalg.det(box)) > 0.0:
        raise ValueError(
            f"the cell is {box.tolist()}; a structure factor needs a cell that is periodic in all "
            "directions"
        )
    every = np.arange(x.shape[1])
    a = every if first is None else np.unique(np.asarray(first, dtype=np.int64))
    b = a if second is None else np.unique(np.asarray(second, dtype=np.int64))
    if not len(a) or not len(b):
        raise ValueError(f"the groups have {len(a)} and {len(b)} atoms; expected at least one each")
    vectors = _wave_vectors(box, limit)
    if not len(vectors):
        raise ValueError(
            f"limit is {limit} 1/angstrom, and the smallest wavenumber of the cell "
            f"{2.0 * np.pi / _heights(box).max():.3g}; expected a larger one"
        )
    values = np.stack([_of_frame(frame, vectors, a, b) for frame in x])
    blocks = len(x) >= BLOCKS
    error = block_error(values[None], BLOCKS) if blocks else np.full(len(vectors), np.nan)
    return StructureFactor(vectors, values.mean(axis=0), error)


def _heights(box: Array) -> Array:
    """Distances of the planes of a cell, (3,)."""
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0))


def _wave_vectors(box: Array, limit: float) -> Array:
    """One of each pair k, -k of the reciprocal lattice within a limit, by length."""
    most = np.floor(max(limit, 0.0) * np.linalg.norm(box, axis=1) / (2.0 * np.pi) + 1e-9)
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij")
    index = np.stack([grid.ravel() for grid in grids], axis=1)
    # Lexicographically positive: the first that is not zero is.
    index = index[np.sign(index) @ np.array([9.0, 3.0, 1.0]) > 0]
    vectors = 2.0 * np.pi * index @ np.linalg.inv(box).T
    sizes = np.linalg.norm(vectors, axis=1)
    kept = np.flatnonzero(sizes <= limit * (1 + 1e-9))
    return np.asarray(vectors[kept[np.argsort(sizes[kept], kind="stable")]])


def _of_frame(frame: Array, vectors: Array, first: Indices, second: Indices) -> Array:
    """Structure factor of one frame at all vectors, (K,)."""
    step = max(1, TERMS // len(frame))
    parts = []
    for begin in range(0, len(vectors), step):
        waves = np.exp(-1j * vectors[begin : begin + step] @ frame.T)
        mine = waves[:, first].sum(axis=1)
        other = mine if second is first else waves[:, second].sum(axis=1)
        parts.append((mine * other.conj()).real)
    return np.asarray(np.concatenate(parts) / np.sqrt(len(first) * len(second)))
