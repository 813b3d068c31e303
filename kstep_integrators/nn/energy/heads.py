"""Atomic energies from features, and nuclear repulsion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators import units
from kstep_integrators.nn.common.graph import Graph, neighbor_values, pair_values
from kstep_integrators.nn.common.radial import smooth_cutoff

__all__ = ["AtomicEnergy", "Repulsion"]


class AtomicEnergy(nn.Module):
    """Readout MLP, one energy per atom.

    Parameters
    ----------
    channels : int
        Width of the backbone features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, channels // 2)
        self.out = nn.Linear(channels // 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., N, channels) to (..., N) eV."""
        energy: Tensor = self.out(functional.silu(self.hidden(features))).squeeze(-1)
        return energy


class Repulsion(nn.Module):
    r"""Screened nuclear repulsion that no network can overcome at close contact.

    The universal potential of Ziegler, Biersack and Littmark (1985),
    doi:10.1007/978-1-4615-8103-1_3, times the C3 cutoff at a radius for each pair of elements, so
    that it is negligible at and beyond bond lengths and diverges as :math:`Z_i Z_j / r` below.

    Parameters
    ----------
    numbers : sequence of int
        Atomic number of each species.
    radius : (S, S) Tensor
        Where the repulsion of each pair of species ends, angstrom.
    """

    charge: Tensor
    charge_power: Tensor
    radius: Tensor

    COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
    EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)

    def __init__(self, numbers: Sequence[int], radius: Tensor) -> None:
        super().__init__()
        z = torch.tensor(list(numbers), dtype=torch.float64)
        self.register_buffer("charge", z, persistent=False)
        self.register_buffer("charge_power", z**0.23, persistent=False)
        self.register_buffer("radius", radius, persistent=False)

    def forward(self, distances: Tensor, graph: Graph) -> Tensor:
        """Map distances (..., N, K) in angstrom to one energy per atom, (..., N) eV."""
        z, power = self.charge[graph.species], self.charge_power[graph.species]
        zz = z.unsqueeze(-1) * neighbor_values(z, graph.index)
        powers = power.unsqueeze(-1) + neighbor_values(power, graph.index)
        reduced = distances * powers / (0.88534 * units.BOHR)
        screening = torch.zeros_like(distances)
        for c, b in zip(self.COEFFICIENTS, self.EXPONENTS, strict=True):
            screening = screening + c * torch.exp(-b * reduced)
        cut = smooth_cutoff(distances, pair_values(self.radius, graph))
        # Half, because every pair stands in two rows.
        return (0.5 * units.COULOMB * zz / distances * screening * cut).sum(-1)
