"""Bonds of fixed length in clusters that share no atom, and the linear algebra of their impulses.

An impulse along a bond changes the relative velocities of all bonds that share an atom with it, and
of no others: bonds with hydrogen fall into clusters of at most four, which are solved together in
one call.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from ase.geometry import find_mic
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from kstep_integrators.mechanics.near_pairs import periodic_cell

__all__ = ["BondClusters", "bond_offsets", "check_bonds", "cluster_bonds"]

Indices = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

LENGTH = 1e-4
"""Largest relative error of a length at the start: what files and other programs round."""

RANK = 1e-9
"""Smallest eigenvalue of the coupling of a cluster over its largest; below it, bonds repeat."""


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

    def solve(self, matrices: Tensor, values: Tensor) -> Tensor:
        """Solutions (G, K) of systems (G, K, K); not finite where there is none."""
        columns, _ = torch.linalg.solve_ex(matrices + self.empty, values.unsqueeze(2))
        solved: Tensor = columns.squeeze(2)
        return solved

    def spread(self, impulses: Tensor, like: Tensor) -> Tensor:
        """Impulses (G, K, 3) on the first atoms, and their opposites on the second, as (N, 3)."""
        impulses = torch.where(self.present.unsqueeze(2), impulses, 0.0)
        both = torch.cat([impulses, -impulses]).view(-1, 3)
        return torch.zeros_like(like).index_add(0, self.ends, both)


def cluster_bonds(bonds: Tensor) -> BondClusters:
    """Group bonds (C, 2) by the atoms they share; remembered for the sets last asked for."""
    return _clusters(bonds.cpu().numpy().tobytes(), bonds.device)


@functools.lru_cache(maxsize=32)
def _clusters(content: bytes, device: torch.device) -> BondClusters:
    pairs = np.frombuffer(content, dtype=np.int64).reshape(-1, 2)
    atoms = int(pairs.max()) + 1
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(atoms, atoms))
    labels = connected_components(graph, directed=False)[1][pairs[:, 0]]
    _, cluster, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers = np.zeros((len(sizes), int(sizes.max())), dtype=np.int64)
    present = np.zeros(numbers.shape, dtype=bool)
    place = (cluster[order], np.arange(len(pairs)) - starts)
    numbers[place], present[place] = order, True
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


def bond_offsets(
    bonds: Tensor, lengths: Tensor, positions: Tensor, cell: Tensor, pbc: tuple[bool, bool, bool]
) -> Tensor | None:
    """Cell vectors to the images of second atoms that the first atoms of bonds are bound to.

    A bond that has its length between the atoms as they stand is left so; others are of the nearest
    image, as in ASE's FixBondLengths. Cells may be skewed.

    Parameters
    ----------
    bonds : (C, 2) int64
    lengths : (C,) angstrom
    positions : (N, 3) angstrom
    cell : (3, 3) angstrom
    pbc : tuple of three bool

    Returns
    -------
    (C, 3) Tensor, angstrom, or None
        Whole cell vectors, to the last bit; None in open space.
    """
    if not any(pbc):
        return None
    vectors = positions[bonds[:, 0]] - positions[bonds[:, 1]]
    offsets = torch.zeros_like(vectors)
    away = (vectors.norm(dim=1) - lengths).abs() > LENGTH * lengths
    if bool(away.any()):
        lattice = periodic_cell(cell.cpu().numpy(), pbc)
        far = vectors[away].cpu().numpy()
        steps = np.rint((far - find_mic(far, lattice, pbc)[0]) @ np.linalg.inv(lattice))
        offsets[away] = torch.from_numpy(steps @ lattice).to(offsets)
    return offsets


def check_bonds(
    bonds: Tensor,
    lengths: Tensor,
    positions: Tensor,
    batch: Tensor,
    inverse_masses: Tensor,
    cell: Tensor | None = None,
    pbc: tuple[bool, bool, bool] = (False, False, False),
) -> Tensor | None:
    """Refuse bonds that cannot be kept at fixed lengths; find their images in a periodic cell.

    Parameters
    ----------
    bonds : (C, 2) int64
    lengths : (C,) angstrom
    positions : (N, 3) angstrom
    batch : (N,) int64
        Index of the molecule each atom belongs to.
    inverse_masses : (N, 1)
        Zero for fixed atoms.
    cell : (3, 3) angstrom, optional
    pbc : tuple of three bool

    Returns
    -------
    (C, 3) Tensor, angstrom, or None
        Of :func:`bond_offsets`.

    Raises
    ------
    ValueError
        If shapes disagree, an atom does not exist or lies in another molecule, a length is not
        positive or not that of the positions, nothing in a bond can move, or bonds repeat what
        others fix.
    """
    count = len(positions)
    if bonds.ndim != 2 or bonds.shape[1] != 2 or lengths.shape != bonds.shape[:1] or not len(bonds):
        raise ValueError(
            f"bonds and bond_lengths have shapes {tuple(bonds.shape)} and {tuple(lengths.shape)}, "
            "expected (C, 2) and (C,) with C >= 1; leave both out if no bond is fixed"
        )
    i, j = bonds.T

    def refuse(wrong: Tensor, reason: str) -> None:
        if bool(wrong.any()):
            raise ValueError(f"the fixed bonds {bonds[wrong][:5].tolist()} {reason}")

    refuse(
        ((bonds < 0) | (bonds >= count)).any(1) | (i == j),
        f"are no bonds: expected two different atoms of 0 to {count - 1}",
    )
    refuse(batch[i] != batch[j], "join atoms of different molecules")
    refuse(~(lengths > 0) | lengths.isinf(), "have no length: expected finite numbers above 0")
    w = inverse_masses[:, 0]
    refuse(w[i] + w[j] == 0, "join atoms that are fixed themselves; leave these bonds out")
    vectors = positions[i] - positions[j]
    offsets = None if cell is None else bond_offsets(bonds, lengths, positions, cell, pbc)
    distances = (vectors if offsets is None else vectors - offsets).norm(dim=1)
    off = (distances - lengths).abs() > LENGTH * lengths
    if bool(off.any()):
        (one, other), has, wants = bonds[off][0].tolist(), distances[off][0], lengths[off][0]
        raise ValueError(
            f"{int(off.sum())} fixed bonds do not have their lengths: atoms {one} and {other} are "
            f"{float(has):.6f} A apart, expected {float(wants):.6f} A. Put the atoms back with "
            "atoms.set_positions(atoms.get_positions()), which honours FixBondLengths"
        )
    links = cluster_bonds(bonds)
    vectors = torch.nn.functional.normalize(links.vectors(positions, offsets), dim=2)
    matrices = (vectors @ vectors.mT) * links.coupling(inverse_masses)
    scale = matrices.diagonal(dim1=1, dim2=2)
    scale = torch.where(links.present, scale, 1.0).rsqrt()
    matrices = matrices * scale.unsqueeze(1) * scale.unsqueeze(2)
    values = torch.linalg.eigvalsh(matrices + links.empty)
    repeated = values[:, 0] < RANK * values[:, -1]
    if bool(repeated.any()):
        among = links.bonds[repeated][0][links.present[repeated][0]]
        raise ValueError(
            f"the fixed bonds {bonds[among].tolist()} repeat each other: some of the distances "
            "follow from the rest at this geometry; leave out those"
        )
    return offsets
