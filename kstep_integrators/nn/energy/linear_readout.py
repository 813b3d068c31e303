"""Readout that is linear in its weights: atomic energies of fixed functions of all invariants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LinearReadout"]

SEED = 0
"""Of the random directions."""
SHARPNESS = 3.0
"""Standard deviation of the argument of a cosine where the invariants are of length one."""


class LinearReadout(nn.Module):
    r"""Atomic energies :math:`w_z \cdot \psi(s)`, whose weights a run can learn in closed form.

    The functions are the invariants :math:`s` of all layers as they are, and random cosines of
    them, :math:`\sqrt{2/R}\,\cos(\Omega s + b)`, which stand for a Gaussian kernel between atomic
    environments: Rahimi & Recht (2007), "Random features for large-scale kernel machines"; on
    features of a trained backbone, Novelli et al. (2025), doi:10.48550/arXiv.2505.05652.

    Parameters
    ----------
    species : int
        Number of elements, S.
    inputs : int
        Invariants of an atom, I.
    random : int
        Random functions, R; 0 for the invariants alone.

    Attributes
    ----------
    weight : (S, I + R)
        eV; zero at first.
    """

    def __init__(self, species: int, inputs: int, random: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        directions = torch.randn(inputs, random, generator=generator) / math.sqrt(inputs)
        phases = 2.0 * math.pi * torch.rand(random, generator=generator)
        self.weight = nn.Parameter(torch.zeros(species, inputs + random))
        self.directions = nn.Parameter(SHARPNESS * directions)
        self.phases = nn.Parameter(phases)

    def functions(self, invariants: Sequence[Tensor]) -> Tensor:
        """The functions of each atom, (..., N, I + R), of its invariants, (..., N, F) each."""
        s = torch.cat(list(invariants), dim=-1)
        if not self.phases.numel():
            return s
        waves = torch.cos(s @ self.directions + self.phases)
        return torch.cat([s, math.sqrt(2.0 / self.phases.numel()) * waves], dim=-1)

    def forward(self, invariants: Sequence[Tensor], species: Tensor) -> Tensor:
        """Energies of the atoms, (..., N) eV."""
        return (self.functions(invariants) * self.weight[species]).sum(-1)
