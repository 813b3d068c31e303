"""RATTLE: momenta projected on those that keep bonds of fixed length."""

from __future__ import annotations

from torch import Tensor

from kstep_integrators.mechanics.rigid_bonds import cluster_bonds

__all__ = ["project_momenta"]


def project_momenta(
    bonds: Tensor,
    positions: Tensor,
    momenta: Tensor,
    inverse_masses: Tensor,
    offsets: Tensor | None = None,
) -> Tensor:
    r"""Project momenta on those that change no bond length: the velocity half of RATTLE, exact.

    :math:`p - B^T (B M^{-1} B^T)^{-1} B M^{-1} p`, where B are the derivatives of the bond lengths.
    Andersen, J. Comput. Phys. 52, 24 (1983), doi:10.1016/0021-9991(83)90014-1.

    Parameters
    ----------
    bonds : (C, 2) int64
    positions : (N, 3) angstrom
    momenta : (N, 3)
        Zero for fixed atoms.
    inverse_masses : (N, 1)
        Zero for fixed atoms.
    offsets : (C, 3) angstrom, optional
        ``bond_offsets`` of the state, in a periodic cell.

    Returns
    -------
    (N, 3)
        NaN in a cluster whose positions are not finite.
    """
    movable, moving = inverse_masses > 0, momenta * inverse_masses
    for links in cluster_bonds(bonds):
        vectors = links.vectors(positions, offsets)
        opening = (vectors * links.vectors(moving)).sum(2)
        matrices = links.products(vectors, vectors, links.coupling(inverse_masses))
        impulses = links.solve(matrices, opening).unsqueeze(2) * vectors
        momenta = momenta - movable * links.spread(impulses, momenta)
    return momenta
