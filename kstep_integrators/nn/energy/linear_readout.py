"""Readout that is linear in its weights: atomic energies of fixed functions of all scalars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LinearReadout"]

SEED = 0
"""Of the random directions."""


class LinearReadout(nn.Module):
    r"""Atomic energies :math:`w_z \cdot \psi(s)`, whose weights a run can learn in closed form.

    The functions are the scalars :math:`s` of all layers, standardized by element, and random
    cosines of them, :math:`\sqrt{2/R}\,\cos(\Omega \tilde s + b)`, which stand for a Gaussian
    kernel between atomic environments: Rahimi & Recht (2007), "Random features for large-scale
    kernel machines"; on scalars of a trained backbone, Novelli et al. (2025),
    doi:10.48550/arXiv.2505.05652.

    Parameters
    ----------
    species : int
        Number of elements, S.
    inputs : int
        Scalars of an atom, of all layers together, I.
    random : int
        Random functions, R; 0 for the scalars alone.

    Attributes
    ----------
    weight : (S, I + R)
        eV; zero at first.
    center, spread : (S, I)
        Mean and standard deviation of the scalars of each element; 0 and 1 at first.
    """

    def __init__(self, species: int, inputs: int, random: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        directions = torch.randn(inputs, random, generator=generator) / math.sqrt(inputs)
        phases = 2.0 * math.pi * torch.rand(random, generator=generator)
        self.weight = nn.Parameter(torch.zeros(species, inputs + random))
        self.center = nn.Parameter(torch.zeros(species, inputs))
        self.spread = nn.Parameter(torch.ones(species, inputs))
        self.directions = nn.Parameter(directions)
        self.phases = nn.Parameter(phases)

    def functions(self, scalars: Sequence[Tensor], species: Tensor) -> Tensor:
        """The functions of each atom, (..., N, I + R), of scalars (..., N, F) after each layer."""
        s = torch.cat(list(scalars), dim=-1)
        s = (s - self.center[species]) / self.spread[species]
        if not self.phases.numel():
            return s
        waves = torch.cos(s @ self.directions + self.phases)
        return torch.cat([s, math.sqrt(2.0 / self.phases.numel()) * waves], dim=-1)

    def forward(self, scalars: Sequence[Tensor], species: Tensor) -> Tensor:
        """Energies of the atoms, (..., N) eV."""
        return (self.functions(scalars, species) * self.weight[species]).sum(-1)
