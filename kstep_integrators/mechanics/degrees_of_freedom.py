"""Degrees of freedom: number of the coordinates with kinetic energy, and their momenta.

3N, minus constraints, minus 3 where the total momentum is conserved or fixed, minus 3 (2 for a
linear molecule) where the angular momentum is conserved too. A flow jump conserves the momentum of
every system without fixed atoms, and the angular momentum if that system is not periodic.
:class:`ase.Atoms` knows of the constraints only, so that ``atoms.get_temperature()`` of a molecule
at rest is low by (3N - 6) / 3N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase.geometry import find_mic
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from kstep_integrators.mechanics.near_pairs import periodic_cell
from kstep_integrators.mechanics.rigid_bonds import cluster_bonds
from kstep_integrators.state import PhaseState

__all__ = [
    "FreeMotion",
    "atomic_degrees_of_freedom",
    "degrees_of_freedom",
    "free_motion",
]

Array = NDArray[np.float64]

LINEAR = 1e-6
"""Moments of inertia below this fraction of the largest are rounding: the molecule is linear."""

POINT = 1e-12
"""And where the largest is below this times the mass, angstrom^2, there is one atom only."""


def degrees_of_freedom(
    n_atoms: int,
    constraints: int = 0,
    *,
    momentum_conserved: bool,
    angular_momentum_conserved: bool,
    linear: bool = False,
) -> int:
    """Number of the degrees of freedom that have kinetic energy.

    Parameters
    ----------
    n_atoms : int
        Atoms in the system.
    constraints : int
        Coordinates or distances held fixed (three for each fixed atom).
    momentum_conserved : bool
        The total momentum is zero and stays so: NVE, Bussi, ``FixCom``; not Langevin.
    angular_momentum_conserved : bool
        The same of the total angular momentum: an isolated molecule, not a periodic system.
    linear : bool
        The molecule is linear, and so has two rotations; two atoms always are.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If fewer than zero would be left.
    """
    removed = constraints
    if momentum_conserved:
        removed += 3
    if angular_momentum_conserved and n_atoms > 1:
        removed += 2 if linear or n_atoms == 2 else 3
    left = 3 * n_atoms - removed
    if left < 0:
        raise ValueError(
            f"{n_atoms} atoms have {3 * n_atoms} coordinates, but {removed} were asked to be "
            "removed; check the number of constraints"
        )
    return left


def atomic_degrees_of_freedom(
    masses: ArrayLike,
    *,
    momentum_conserved: bool,
    angular_momentum_positions: ArrayLike | None = None,
    bonds: ArrayLike | None = None,
    bond_positions: ArrayLike | None = None,
    cell: ArrayLike | None = None,
    pbc: ArrayLike = False,
) -> Array:
    r"""Each atom's share of the degrees of freedom, for equipartition atom by atom.

    Conservation laws take more from heavy and outlying atoms than from light and central ones.
    Mass-weighted momenta :math:`p_i / \sqrt{m_i}` at a temperature T are normal with covariance
    kT times the projector on what the conserved momenta leave free, so that atom i carries

    .. math::

        \langle p_i^2 / 2 m_i \rangle = \tfrac{1}{2} k T \left[
            3 - 3 \frac{m_i}{M} - m_i \,\mathrm{tr}\!\left(
            (r_i^2 \mathbf 1 - r_i r_i^T)\, \mathbf I^{-1} \right) \right]

    with r_i from the centre of mass and I the inertia tensor (its pseudo-inverse for a linear
    molecule). The bracket is returned; it sums to :func:`degrees_of_freedom`. Bonds of fixed length
    take :math:`m_i^{-1}\, \mathrm{tr}\, [B^T (B M^{-1} B^T)^{-1} B]_{ii}` from it, with B the
    derivatives of the lengths: most of it from the light ends.

    Parameters
    ----------
    masses : array_like
        Shape (N,), u.
    momentum_conserved : bool
        The total momentum is zero.
    angular_momentum_positions : array_like, optional
        Positions, shape (..., N, 3), angstrom: give them when the total angular momentum about
        the centre of mass is zero too.
    bonds : array_like, optional
        Shape (C, 2), atoms whose distances are fixed.
    bond_positions : array_like, optional
        Positions that go with them, shape (..., N, 3), angstrom.
    cell : array_like, optional
        Shape (3, 3), angstrom: bonds are then between nearest images.
    pbc : array_like of bool
        Its periodic directions.

    Returns
    -------
    numpy.ndarray
        Shape (N,), or (..., N) when positions are given.

    Raises
    ------
    ValueError
        If one of ``bonds`` and ``bond_positions`` is given without the other.
    """
    m = np.asarray(masses, dtype=np.float64)
    share = np.full(len(m), 3.0)
    if momentum_conserved:
        share = share - 3.0 * m / m.sum()
    if (bonds is None) != (bond_positions is None):
        raise ValueError(
            "bonds and bond_positions belong together: what a fixed bond takes from an atom "
            "depends on the geometry; give both, or neither"
        )
    if bonds is not None and bond_positions is not None:
        share = share - _share_of_bonds(m, bonds, bond_positions, cell, pbc)
    if angular_momentum_positions is None:
        return share
    r = np.asarray(angular_momentum_positions, dtype=np.float64)
    r = r - np.sum(m[:, None] * r, axis=-2, keepdims=True) / m.sum()
    squares = np.sum(r**2, axis=-1)[..., None, None] * np.eye(3)
    tensors = m[:, None, None] * (squares - r[..., :, None] * r[..., None, :])
    # Relative cut-off: the moment of a linear molecule about its own axis is rounding noise.
    inverse = np.linalg.pinv(tensors.sum(axis=-3), rcond=LINEAR, hermitian=True)
    return np.asarray(share - np.einsum("...iab,...ba->...i", tensors, inverse))


def _share_of_bonds(
    masses: Array, bonds: ArrayLike, positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike
) -> Array:
    """Degrees of freedom that bonds of fixed length take from each atom, (..., N)."""
    pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    x = np.asarray(positions, dtype=np.float64)
    between = x[..., pairs[:, 0], :] - x[..., pairs[:, 1], :]
    if cell is not None and np.any(pbc):
        where = tuple(bool(b) for b in np.broadcast_to(pbc, 3))
        lattice = periodic_cell(np.asarray(cell, dtype=np.float64), (where[0], where[1], where[2]))
        between = find_mic(between.reshape(-1, 3), lattice, where)[0].reshape(between.shape)
    weights = torch.from_numpy(1.0 / masses).unsqueeze(1)
    share = torch.zeros(*x.shape[:-1], dtype=torch.float64)
    for links in cluster_bonds(torch.from_numpy(pairs), sparse=False):
        vectors = torch.from_numpy(between)[..., links.bonds, :] * links.present.unsqueeze(2)
        overlap = vectors @ vectors.mT
        taken = torch.linalg.inv(overlap * links.coupling(weights) + links.empty) * overlap
        # (..., 2, G, K): of the two ends of each bond.
        ends = (taken.unsqueeze(-4) * links.shared).sum(-1).flatten(-3)
        share = share.index_add(-1, links.ends, ends)
    return np.asarray(share.numpy() / masses)


@dataclass(frozen=True)
class FreeMotion:
    """The part of a motion that conservation laws leave free.

    Attributes
    ----------
    momenta : (N, 3) Tensor, u angstrom / ASE time
        Without what the conserved total momenta of each molecule need. Kinetic energies of the two
        parts add up.
    degrees : (B,) int64 Tensor
        Degrees of freedom of each molecule in these momenta.
    """

    momenta: Tensor
    degrees: Tensor


def free_motion(state: PhaseState) -> FreeMotion:
    r"""The momenta of each molecule that nothing conserves, and how many they are.

    The velocity of the centre of mass is taken out of every molecule without fixed atoms, and its
    rigid rotation, :math:`m_i\, \omega \times r_i` with :math:`I \omega = L`, too if the cell is
    not periodic in any direction. What is left are 3N - 6 degrees of freedom of an isolated
    molecule, 3N - 5 if it is exactly linear (as two atoms always are), none of a single atom,
    3N - 3 of a periodic system, and 3 for each atom that moves beside fixed ones; less one for each
    bond of fixed length, which takes no part in translation and rotation. A triatomic that
    is linear at its minimum has 3N - 5 there and 3N - 6 as soon as it bends: this is asked of each
    geometry anew.

    Parameters
    ----------
    state : PhaseState
    """
    size = state.n_molecules
    momenta, masses, batch = state.momenta, state.masses, state.batch

    def summed(values: Tensor) -> Tensor:
        return values.new_zeros(size, *values.shape[1:]).index_add(0, batch, values)

    degrees = 3 * torch.bincount(batch, minlength=size)
    if state.bonds is not None:
        degrees = degrees - torch.bincount(batch[state.bonds[:, 0]], minlength=size)
    # 1 for each molecule that nothing holds.
    loose = masses.new_ones(size, 1)
    if state.mobile is not None:
        momenta = momenta * state.mobile
        fixed = summed(1.0 - state.mobile)
        degrees = degrees - 3 * fixed[:, 0].round().to(torch.int64)
        loose = (fixed == 0).to(masses.dtype)
    whole = loose[:, 0].to(torch.int64)
    total_mass = summed(masses)
    momenta = momenta - masses * (loose * summed(momenta) / total_mass)[batch]
    degrees = degrees - 3 * whole
    if any(state.pbc):
        return FreeMotion(momenta, degrees)
    r = state.positions - (summed(masses * state.positions) / total_mass)[batch]
    spin = summed(torch.linalg.cross(r, momenta))
    outer = summed(masses[:, :, None] * r[:, :, None] * r[:, None, :])
    trace = outer.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    moments, axes = torch.linalg.eigh(trace * torch.eye(3, dtype=r.dtype, device=r.device) - outer)
    turns = (moments > LINEAR * moments[:, 2:]) & (moments[:, 2:] > POINT * total_mass)
    along = torch.where(turns, (axes.mT @ spin[:, :, None])[:, :, 0] / moments, 0.0)
    omega = loose * (axes @ along[:, :, None])[:, :, 0]
    momenta = momenta - masses * torch.linalg.cross(omega[batch], r)
    return FreeMotion(momenta, degrees - whole * turns.sum(1))
