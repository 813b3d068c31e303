"""Bonds of fixed length in clusters that share no atom, and the linear algebra of their impulses.

An impulse along a bond changes the relative velocities of all bonds that share an atom with it, and
of no others: bonds with hydrogen fall into clusters of at most four, which are solved together in
one call. Where all bonds of a chain are fixed, its cluster is as large as the chain: the matrix is
sparse, and solved as such.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor

__all__ = ["BondClusters", "SparseCluster", "cluster_bonds"]

Indices = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

SMALL = 8
"""Bonds of a cluster up to which all are solved in one call, with empty places."""

LARGE = 64
"""And beyond which the matrix is kept sparse; between, clusters of like size share a call."""


@dataclass(frozen=True)
class BondClusters:
    """Bonds of fixed length, G clusters of up to K.

    Attributes
    ----------
    bonds : (G, K) int64
        Number of the bond in each place; 0 where there is none.
    present : (G, K) bool
        Whether there is one.
    ends : (2 G K,) int64
        Their first atoms, then their second; 0 and 0 where there is none, so that vectors between
        them vanish.
    shared : (2, G, K, K) float64
        Change of one bond vector with the motion of each end of another: 1, -1 or 0.
    empty : (G, K, K) float64
        1 on the diagonal where there is no bond, so that equations have solutions.
    """

    bonds: Tensor
    present: Tensor
    ends: Tensor
    shared: Tensor
    empty: Tensor

    def vectors(self, values: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Differences (G, K, 3) of values (N, 3) of the first atoms less those of the second.

        Less ``offsets`` (C, 3) too, if the values are positions in a periodic cell.
        """
        both = values.index_select(0, self.ends).view(2, *self.bonds.shape, 3)
        between = both[0] - both[1] if offsets is None else both[0] - both[1] - offsets[self.bonds]
        # Not left to the subtraction: a molecule that is lost has positions that are NaN.
        return torch.where(self.present.unsqueeze(2), between, 0.0)

    def coupling(self, inverse_masses: Tensor) -> Tensor:
        """Effect of a unit of impulse on each bond on each bond vector, (G, K, K); symmetric."""
        weights = inverse_masses.index_select(0, self.ends).view(2, *self.bonds.shape, 1)
        coupled: Tensor = (weights * self.shared).sum(0)
        return coupled

    def products(self, one: Tensor, other: Tensor, coupling: Tensor) -> Tensor:
        """Dot products of vectors (G, K, 3) times the coupling: a matrix for :meth:`solve`."""
        return (one @ other.mT) * coupling

    def apply(self, coupling: Tensor, impulses: Tensor) -> Tensor:
        """Changes (G, K, 3) of the bond vectors by impulses (G, K, 3)."""
        moved: Tensor = coupling @ impulses
        return moved

    def solve(self, matrices: Tensor, values: Tensor) -> Tensor:
        """Solutions (G, K) of systems (G, K, K); not finite where there is none."""
        columns, _ = torch.linalg.solve_ex(matrices + self.empty, values.unsqueeze(2))
        solved: Tensor = columns.squeeze(2)
        return solved

    def independence(self, vectors: Tensor, coupling: Tensor) -> Tensor:
        """(G,) smallest over largest eigenvalue of the coupling of unit vectors (G, K, 3)."""
        matrices = self.products(vectors, vectors, coupling)
        scale = matrices.diagonal(dim1=1, dim2=2)
        scale = torch.where(self.present, scale, 1.0).rsqrt()
        matrices = matrices * scale.unsqueeze(1) * scale.unsqueeze(2)
        values = torch.linalg.eigvalsh(matrices + self.empty)
        ratio: Tensor = values[:, 0] / values[:, -1]
        return ratio

    def spread(self, impulses: Tensor, like: Tensor) -> Tensor:
        """Impulses (G, K, 3) on the first atoms, and their opposites on the second, as (N, 3)."""
        impulses = torch.where(self.present.unsqueeze(2), impulses, 0.0)
        both = torch.cat([impulses, -impulses]).view(-1, 3)
        return torch.zeros_like(like).index_add(0, self.ends, both)


@dataclass(frozen=True)
class SparseCluster(BondClusters):
    """One cluster of many bonds; matrices are their entries (n,) at pairs that share an atom.

    Attributes
    ----------
    rows, columns : (n,) int64
        Bonds of each entry.
    """

    rows: Tensor
    columns: Tensor

    def coupling(self, inverse_masses: Tensor) -> Tensor:
        """Effect of a unit of impulse on each bond on each that shares an atom, (n,)."""
        ends = inverse_masses.index_select(0, self.ends)[:, 0].view(2, -1)[:, self.rows]
        coupled: Tensor = (ends * self.shared).sum(0)
        return coupled

    def products(self, one: Tensor, other: Tensor, coupling: Tensor) -> Tensor:
        """Entries (n,) of a matrix."""
        return (one[0, self.rows] * other[0, self.columns]).sum(1) * coupling

    def apply(self, coupling: Tensor, impulses: Tensor) -> Tensor:
        """Changes (1, K, 3) of the bond vectors by impulses (1, K, 3)."""
        moved = coupling.unsqueeze(1) * impulses[0, self.columns]
        return torch.zeros_like(impulses[0]).index_add(0, self.rows, moved).unsqueeze(0)

    def _factors(self, entries: Tensor) -> SuperLU | None:
        """Factors of the matrix; None if it is singular or not finite."""
        values = entries.cpu().numpy()
        if not np.isfinite(values).all():
            return None
        size = self.bonds.shape[1]
        places = (self.rows.cpu().numpy(), self.columns.cpu().numpy())
        try:
            return splu(coo_array((values, places), shape=(size, size)).tocsc())
        except RuntimeError:
            return None

    def solve(self, matrices: Tensor, values: Tensor) -> Tensor:
        """Solutions (1, K) of a system of entries (n,); not finite where there is none."""
        factors = self._factors(matrices)
        if factors is None:
            return torch.full_like(values, torch.nan)
        return torch.from_numpy(factors.solve(values[0].cpu().numpy())).to(values).unsqueeze(0)

    def independence(self, vectors: Tensor, coupling: Tensor) -> Tensor:
        """(1,) smallest over largest pivot, in place of eigenvalues."""
        entries = self.products(vectors, vectors, coupling)
        own = self.rows == self.columns
        scale = torch.zeros_like(vectors[0, :, 0]).index_add(0, self.rows[own], entries[own])
        factors = self._factors(entries * (scale[self.rows] * scale[self.columns]).rsqrt())
        pivots = np.zeros(1) if factors is None else np.abs(factors.U.diagonal())
        return vectors.new_tensor([pivots.min() / max(float(pivots.max()), 1e-300)])


def cluster_bonds(bonds: Tensor, sparse: bool = True) -> tuple[BondClusters, ...]:
    """Group bonds (C, 2) by the atoms they share; remembered for the sets last asked for.

    Parameters
    ----------
    bonds : (C, 2) int64
    sparse : bool
        Whether matrices of large clusters may be sparse.

    Returns
    -------
    tuple of BondClusters
        That share no atom: one with all small clusters, others with larger ones of like size.
    """
    return _clusters(bonds.cpu().numpy().tobytes(), bonds.device, sparse)


@functools.lru_cache(maxsize=32)
def _clusters(content: bytes, device: torch.device, sparse: bool) -> tuple[BondClusters, ...]:
    pairs = np.frombuffer(content, dtype=np.int64).reshape(-1, 2)
    atoms = int(pairs.max()) + 1
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(atoms, atoms))
    labels = connected_components(graph, directed=False)[1][pairs[:, 0]]
    _, cluster, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kinds = np.where(sizes <= SMALL, 0, np.ceil(np.log2(sizes)).astype(int))
    if sparse:
        alone = sizes > LARGE
        kinds[alone] = 100 + np.arange(int(alone.sum()))
    made: list[BondClusters] = []
    for kind in np.unique(kinds):
        numbers = np.flatnonzero(kinds[cluster] == kind)
        make = _dense if kind < 100 else _sparse
        made.append(make(pairs, numbers, cluster[numbers], device))
    return tuple(made)


def _dense(pairs: Indices, mine: Indices, cluster: Indices, device: torch.device) -> BondClusters:
    """Clusters of some of the bonds, with places for as many as the largest has."""
    _, cluster, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers = np.zeros((len(sizes), int(sizes.max())), dtype=np.int64)
    present = np.zeros(numbers.shape, dtype=bool)
    place = (cluster[order], np.arange(len(mine)) - starts)
    numbers[place], present[place] = mine[order], True
    first, second = np.where(present[..., None], pairs[numbers], 0).transpose(2, 0, 1)

    both = present[:, :, None] & present[:, None, :]

    def same(one: Indices, other: Indices) -> Array:
        return np.where(both & (one[:, :, None] == other[:, None, :]), 1.0, 0.0)

    shared = np.stack(
        [same(first, first) - same(first, second), same(second, second) - same(second, first)]
    )
    ends = np.stack([first, second]).reshape(-1)
    empty = np.eye(present.shape[1]) * ~present[:, :, None]
    parts = (numbers, present, ends, shared, empty)
    return BondClusters(*(torch.from_numpy(part).to(device) for part in parts))


def _sparse(pairs: Indices, mine: Indices, cluster: Indices, device: torch.device) -> SparseCluster:
    """One cluster, whose matrix has entries only where bonds share an atom."""
    own, count = pairs[mine], len(mine)
    numbers, ones = np.arange(count), np.ones(count)
    atoms = int(own.max()) + 1
    first = coo_array((ones, (numbers, own[:, 0])), shape=(count, atoms)).tocsr()
    second = coo_array((ones, (numbers, own[:, 1])), shape=(count, atoms)).tocsr()
    pattern = ((first + second) @ (first + second).T).tocoo()
    rows, columns = pattern.row.astype(np.int64), pattern.col.astype(np.int64)

    def same(one: int, other: int) -> Array:
        return np.asarray(own[rows, one] == own[columns, other], dtype=np.float64)

    shared = np.stack([same(0, 0) - same(0, 1), same(1, 1) - same(1, 0)])
    parts = (mine[None], np.ones((1, count), dtype=bool), own.T.reshape(-1).copy(), shared,
             np.zeros(0), rows, columns)  # fmt: skip
    return SparseCluster(*(torch.from_numpy(part).to(device) for part in parts))
