"""Readout that is linear in its weights: atomic energies of fixed functions of all invariants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LinearReadout"]

SEED = 0
"""Of the random directions."""
SHARPNESS = 2.0
"""Root mean square of the argument of a cosine, for invariants of mean square one."""
SIZE = 90.0
"""Sum of the squares of the factors of all functions: it sets what a weight of 1 eV does."""


class LinearReadout(nn.Module):
    r"""Atomic energies :math:`w_z \cdot \psi(s)`, whose weights a run can learn in closed form.

    The functions are random cosines of the invariants s of all layers,
    :math:`\psi = \sqrt{90/R}\,\cos(\Omega s + b)`, which stand for a Gaussian kernel between atomic
    environments: Rahimi & Recht (2007), "Random features for large-scale kernel machines"; on
    features of a trained backbone, Novelli et al. (2025), doi:10.48550/arXiv.2505.05652.

    Parameters
    ----------
    species : int
        Number of elements, S.
    inputs : int
        Invariants of an atom, I.
    functions : int
        Random functions, R.

    Attributes
    ----------
    weight : (S, R)
        eV; zero at first.
    directions : (I, R)
    phases : (R,)
    """

    def __init__(self, species: int, inputs: int, functions: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        directions = torch.randn(inputs, functions, generator=generator) / math.sqrt(inputs)
        phases = 2.0 * math.pi * torch.rand(functions, generator=generator)
        self.weight = nn.Parameter(torch.zeros(species, functions))
        self.directions = nn.Parameter(SHARPNESS * directions)
        self.phases = nn.Parameter(phases)

    def functions(self, invariants: Sequence[Tensor]) -> Tensor:
        """The functions of each atom, (..., N, R), of its invariants, (..., N, F) each."""
        s = torch.cat(list(invariants), dim=-1)
        return math.sqrt(SIZE / len(self.phases)) * torch.cos(s @ self.directions + self.phases)

    def forward(self, invariants: Sequence[Tensor], species: Tensor) -> Tensor:
        """Energies of the atoms, (..., N) eV."""
        return (self.functions(invariants) * self.weight[species]).sum(-1)
