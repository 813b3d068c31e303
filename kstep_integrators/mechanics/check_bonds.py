"""Checks of bonds of fixed length, and the images that they are between in a periodic cell."""

from __future__ import annotations

import numpy as np
import torch
from ase.geometry import find_mic
from torch import Tensor

from kstep_integrators.mechanics.near_pairs import periodic_cell
from kstep_integrators.mechanics.rigid_bonds import cluster_bonds

__all__ = ["bond_offsets", "check_bonds"]

LENGTH = 1e-4
"""Largest relative error of a length at the start: what files and other programs round."""

NEAR = 0.3
"""Relative error up to which SHAKE puts a bond back."""

RANK = 1e-9
"""Smallest eigenvalue of the coupling of a cluster over its largest; below it, bonds repeat."""


def bond_offsets(
    bonds: Tensor, lengths: Tensor, positions: Tensor, cells: Tensor, pbc: tuple[bool, bool, bool]
) -> Tensor | None:
    """Cell vectors to the images of second atoms that the first atoms of bonds are bound to.

    A bond that has its length between the atoms as they stand is left so; others are of the nearest
    image, as in ASE's FixBondLengths. Cells may be skewed.

    Parameters
    ----------
    bonds : (C, 2) int64
    lengths : (C,) angstrom
    positions : (N, 3) angstrom
    cells : (C, 3, 3) angstrom
        That each bond is in.
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
    kinds, kind = torch.unique(cells, dim=0, return_inverse=True)
    for number in torch.unique(kind[away]).tolist():
        here = away & (kind == number)
        lattice = periodic_cell(kinds[number].cpu().numpy(), pbc)
        far = vectors[here].cpu().numpy()
        steps = np.rint((far - find_mic(far, lattice, pbc)[0]) @ np.linalg.inv(lattice))
        offsets[here] = torch.from_numpy(steps @ lattice).to(offsets)
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
    cell : (B, 3, 3) angstrom, optional
        Of each molecule.
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
    offsets = None
    if cell is not None:
        offsets = bond_offsets(bonds, lengths, positions, cell[batch[i]], pbc)
    distances = (vectors if offsets is None else vectors - offsets).norm(dim=1)
    off = (distances - lengths).abs() > LENGTH * lengths
    if bool(off.any()):
        (one, other), has, wants = bonds[off][0].tolist(), distances[off][0], lengths[off][0]
        advice = (
            "Put the atoms back with atoms.set_positions(atoms.get_positions()), which honours "
            "FixBondLengths"
            if abs(float(has - wants)) < NEAR * float(wants)
            else "They are the lengths of another geometry, or the molecules are in pieces without "
            "the cell and atoms.pbc that belong to them"
        )
        raise ValueError(
            f"{int(off.sum())} fixed bonds do not have their lengths: atoms {one} and {other} are "
            f"{float(has):.6f} A apart, expected {float(wants):.6f} A. {advice}"
        )
    for links in cluster_bonds(bonds):
        along = torch.nn.functional.normalize(links.vectors(positions, offsets), dim=2)
        repeated = links.independence(along, links.coupling(inverse_masses)) < RANK
        if not bool(repeated.any()):
            continue
        among = links.bonds[repeated][0][links.present[repeated][0]]
        raise ValueError(
            f"the fixed bonds {bonds[among][:10].tolist()} repeat each other: some of the "
            "distances follow from the rest at this geometry; leave out those"
        )
    return offsets
