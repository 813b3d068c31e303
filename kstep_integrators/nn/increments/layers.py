r"""What the layers of increment networks share: edges, couplings along them, updates of atoms.

Atoms carry scalars (B, N, F) and vectors (B, N, 3, F). The leading terms of an increment are
products of a Hessian with velocities and forces, and a function of distances couples two atoms by
:math:`a(r)\,\hat r \hat r^T + b(r)`. Projections of relative vectors on the directions between
atoms, multiplied by the directions again, are therefore what a layer is made of; products with
further Hessians come from further layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.graph import Graph, displacements
from kstep_integrators.nn.common.radial import BesselBasis, smooth_cutoff

__all__ = ["AtomUpdate", "Edges", "along", "exchanged", "find_edges", "projections", "tempered"]


@dataclass(frozen=True)
class Edges:
    """All pairs of atoms of each molecule, as the layers see them.

    Attributes
    ----------
    unit : (B, N, N, 3)
        Directions from atom i to atom j.
    basis : (B, N, N, R)
        Radial basis, without envelope.
    cut : (B, N, N, 1)
        Smooth envelope; exactly zero for pairs beyond the cutoff, own slots and padding.
    """

    unit: Tensor
    basis: Tensor
    cut: Tensor


def find_edges(
    positions: Tensor, graph: Graph, basis: BesselBasis, cutoff: float, dtype: torch.dtype
) -> Edges:
    """Edges of positions (B, N, 3) in angstrom.

    Differences are taken in the precision of the positions, all else in ``dtype``.
    """
    vectors, distances = displacements(positions, graph)
    vectors, distances = vectors.to(dtype), distances.to(dtype)
    return Edges(
        vectors / distances.unsqueeze(-1),
        basis(distances).to(dtype),
        smooth_cutoff(distances, cutoff).unsqueeze(-1),
    )


def projections(vectors: Tensor, unit: Tensor) -> Tensor:
    """Relative vectors along the directions: (B, N, 3, F) and (B, N, N, 3) to (B, N, N, F).

    The rate at which atoms move apart, if the vectors are velocities.
    """
    # Batched products of (N, 3) and (3, F) matrices: no array with a component axis is formed.
    from_others = (unit.transpose(1, 2) @ vectors).transpose(1, 2)
    return from_others - unit @ vectors


def along(coefficients: Tensor, unit: Tensor) -> Tensor:
    """Sum of the directions times coefficients (B, N, N, F) over neighbours, (B, N, 3, F)."""
    return unit.transpose(-1, -2) @ coefficients


def exchanged(weights: Tensor, vectors: Tensor) -> Tensor:
    """Sum over j of weights (B, H, N, N) times vectors j minus i, (B, N, 3, F), head by head."""
    heads = weights.shape[1]
    grouped = vectors.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4)
    flat = grouped.flatten(3)
    total: Tensor = weights @ flat - weights.sum(-1, keepdim=True) * flat
    return total.reshape(grouped.shape).permute(0, 2, 3, 1, 4).flatten(3)


def tempered(vectors: Tensor) -> Tensor:
    """Vectors (..., 3, F) of an atom, all shortened alike if they are far larger than one.

    Features of higher order in them then cannot run away from layer to layer.
    """
    size = vectors.square().mean((-1, -2), keepdim=True)
    return vectors / (1.0 + size / 16.0).sqrt()


class AtomUpdate(nn.Module):
    """Mix scalars and vectors within an atom: eqs. 9-10 of PaiNN, doi:10.48550/arXiv.2102.03150.

    Products of the vectors, between those of velocities and forces too, enter the scalars.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(3 * channels, channels)
        self.out = nn.Linear(channels, 3 * channels)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the scalars (..., F) and vectors (..., 3, F)."""
        left, right = self.mix(v).chunk(2, dim=-1)
        length = (right.square().sum(-2) + 1e-8).sqrt()
        # Read on scales on which large values do not take over.
        product = torch.asinh((left * right).sum(-2))
        seen = [self.norm(s), torch.log1p(length), product]
        hidden = functional.silu(self.hidden(torch.cat(seen, dim=-1)))
        a_ss, a_sv, a_vv = self.out(hidden).chunk(3, dim=-1)
        return a_ss + a_sv * product, a_vv.unsqueeze(-2) * left
