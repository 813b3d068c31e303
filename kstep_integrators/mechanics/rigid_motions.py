"""Rigid motions, translations and rotations, as directions of mass-weighted coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from kstep_integrators.mechanics.padding import Padding
from kstep_integrators.state import PhaseState

__all__ = ["rigid_motions"]


def rigid_motions(state: PhaseState, padding: Padding) -> Tensor:
    r"""Orthonormal mass-weighted motions of each molecule as a rigid body.

    A change of momenta :math:`\Delta p = M^{1/2} y` has no net momentum and no net angular
    momentum if y is orthogonal to :math:`M^{1/2} e_\alpha` and
    :math:`M^{1/2} (e_\alpha \times x)`; these are the directions returned. With fixed atoms they
    are the motions that leave those where they are: rotations about one fixed atom, a rotation
    about the axis of two, and none for more. In a periodic cell they are translations only.

    Parameters
    ----------
    state : PhaseState
    padding : Padding
        Of its molecules, B of them, M atoms wide.

    Returns
    -------
    (B, 3M, C) float64
        Columns are orthonormal, or zero where a molecule has fewer such motions than C.
    """
    # Positions that are not finite would fail the decomposition for all molecules.
    x = padding.pad(state.positions).nan_to_num(0.0, 0.0, 0.0)
    mass = padding.pad(state.masses)
    x = x - (mass * x).sum(1, keepdim=True) / mass.sum(1, keepdim=True)
    axes = torch.eye(3, dtype=x.dtype, device=x.device).expand(*x.shape[:2], 3, 3)
    motions = axes
    if not any(state.pbc):
        # (B, M, axis, component) -> (B, M, component, axis)
        turns = torch.linalg.cross(axes, x.unsqueeze(-2).expand_as(axes)).transpose(-1, -2)
        motions = torch.cat([axes, turns], dim=-1)
    moves = mass.sqrt()
    if state.mobile is not None:
        free = padding.pad(state.mobile)
        real = (mass > 0).to(x.dtype)
        held = ((real - free).unsqueeze(-1) * motions).flatten(1, 2)
        square, mixtures = torch.linalg.eigh(held.transpose(-1, -2) @ held)
        still = square <= 1e-12 * square[:, -1:].clamp(min=1.0)
        motions = motions @ (mixtures * still.unsqueeze(-2)).unsqueeze(1)
        moves = moves * free
    weighted = (moves.unsqueeze(-1) * motions).flatten(1, 2)
    directions, lengths, _ = torch.linalg.svd(weighted, full_matrices=False)
    # A linear molecule has no rotation about its axis, an atom none at all.
    kept: Tensor = directions * (lengths > 1e-10 * lengths[:, :1]).unsqueeze(-2)
    return kept
