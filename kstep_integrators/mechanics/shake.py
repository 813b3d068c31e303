"""SHAKE: positions put back on the fixed bond lengths of a state."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from ase.data import chemical_symbols
from torch import Tensor

from kstep_integrators.mechanics.rigid_bonds import BondClusters, cluster_bonds
from kstep_integrators.state import PhaseState, Reasons, inverse_masses, mask_of

__all__ = ["Shaken", "shake"]

TOLERANCE = 1e-12
"""Relative error of a squared length at which Newton steps end."""

LARGEST = 1e-10
"""Relative error that is put up with where rounding allows no better."""

NEWTON_STEPS = 30
"""Each doubles the digits; more than ten are the sign of a landing that cannot be put back."""


@dataclass(frozen=True)
class Shaken:
    """Positions on the constraints.

    Attributes
    ----------
    positions : (N, 3) angstrom
        NaN for molecules of ``failures``.
    displacement : (N, 3) angstrom
        Their corrections, along the bond vectors of the state: without net mass-weighted
        displacement, but for fixed atoms. NaN likewise.
    failures : dict of int to str
        Molecules that cannot be put back, and why.
    """

    positions: Tensor
    displacement: Tensor
    failures: Reasons = field(default_factory=dict)


def shake(state: PhaseState, positions: Tensor) -> Shaken:
    r"""Put positions back on the fixed bond lengths of a state.

    The new positions are :math:`x + M^{-1} B^T \lambda`, B the bond vectors of ``state``, which
    lies on the constraints. Ryckaert, Ciccotti & Berendsen, J. Comput. Phys. 23, 327 (1977),
    doi:10.1016/0021-9991(77)90098-5; the multipliers of all bonds that share atoms are found
    together by Newton steps, to 1e-12 of the squared lengths.

    Parameters
    ----------
    state : PhaseState
        At the start of the step.
    positions : (N, 3) angstrom
        At its end, without constraints.

    Returns
    -------
    Shaken
        The positions as they are, if the state has no bonds.
    """
    if state.bonds is None or state.bond_lengths is None:
        return Shaken(positions, torch.zeros_like(positions))
    weights = inverse_masses(state)
    moved, failures = torch.zeros_like(positions), Reasons()
    for links in cluster_bonds(state.bonds):
        part, stuck = _solved(state, positions, links, weights)
        moved = moved + part
        if stuck is not None:
            failures |= _reasons(state, links, stuck)
    if failures:
        moved = moved.masked_fill(mask_of(failures, state.time)[state.batch].unsqueeze(1), math.nan)
    return Shaken(positions + moved, moved, failures)


def _solved(
    state: PhaseState, positions: Tensor, links: BondClusters, weights: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Displacements (N, 3) of some clusters, and which of them (G,) have none, if any."""
    if state.bond_lengths is None:
        raise ValueError("the state has bonds of fixed length without their lengths")
    coupling = links.coupling(weights)
    before = links.vectors(state.positions, state.bond_offsets)
    free = links.vectors(positions, state.bond_offsets)
    squares = torch.where(links.present, state.bond_lengths[links.bonds].square(), 1.0)
    multipliers = torch.zeros_like(squares)
    for _ in range(NEWTON_STEPS):
        vectors = free + links.apply(coupling, multipliers.unsqueeze(2) * before)
        excess = 0.5 * (vectors.square().sum(2) - squares) * links.present
        error = (excess.abs() / squares).amax(1)
        left = error > TOLERANCE  # false for NaN, which no step mends
        if not bool(left.any()):
            break
        step = links.solve(links.products(vectors, before, coupling), -excess)
        # Clusters that are done stay as they are, whatever runs beside them.
        multipliers = torch.where(left.unsqueeze(1), multipliers + step, multipliers)
    # A bond turned by more than a right angle has found the wrong one of two solutions.
    ahead = ((vectors * before).sum(2) > 0) | ~links.present
    stuck = ~(error <= LARGEST) | ~ahead.all(1)
    moved = weights * links.spread(multipliers.unsqueeze(2) * before, positions)
    return moved, stuck if bool(stuck.any()) else None


def _reasons(state: PhaseState, links: BondClusters, stuck: Tensor) -> Reasons:
    """Reason for each molecule, with atoms counted within it."""
    reasons: Reasons = {}
    starts = torch.searchsorted(state.batch, torch.arange(state.n_molecules).to(state.batch))
    symbols, batch = state.numbers.tolist(), state.batch.tolist()
    first, second = links.ends.view(2, *links.bonds.shape)[:, stuck, 0].tolist()
    for i, j in zip(first, second, strict=True):
        start = int(starts[batch[i]])
        bond = (
            f"{chemical_symbols[symbols[i]]}{i - start}-{chemical_symbols[symbols[j]]}{j - start}"
        )
        reasons.setdefault(
            batch[i],
            f"the fixed bond {bond}, or one that shares its atoms, cannot be put back on its "
            "length (SHAKE does not converge): it moved too far in one step",
        )
    return reasons
