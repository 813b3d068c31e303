"""Spectra as sums of Gaussians of several widths, each of which may be moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kstep_integrators.arguments import positive_number, real_number

__all__ = ["SpectralBasis"]


class SpectralBasis(nn.Module):
    """Gaussians of several widths over a grid of energies, each of area 1.

    Those of a width w stand w apart, from one end of the grid to the other.

    Parameters
    ----------
    grid : sequence of float
        Energies in eV, ascending, two at least.
    widths : sequence of float
        Standard deviations in eV.

    Raises
    ------
    ValueError
        If the grid does not ascend, or there are no widths.

    Examples
    --------
    >>> import torch
    >>> from kstep_integrators.observables.networks.spectral_basis import SpectralBasis
    >>> basis = SpectralBasis([0.0, 1.0, 2.0], [1.0, 2.0])
    >>> basis.size
    5
    >>> basis(torch.ones(1, 5).double(), torch.zeros(1, 5).double()).shape
    torch.Size([1, 3])
    """

    grid: Tensor
    centres: Tensor
    width: Tensor

    def __init__(self, grid: Sequence[float], widths: Sequence[float]) -> None:
        super().__init__()
        energies = [real_number("an entry of grid", energy, "eV") for energy in grid]
        if len(energies) < 2 or any(a >= b for a, b in pairwise(energies)):
            raise ValueError(
                f"grid has {len(energies)} energies from {energies[:1]} to {energies[-1:]}, "
                "expected ascending energies in eV, two at least"
            )
        if not widths:
            raise ValueError("widths are empty, expected standard deviations in eV, one at least")
        centres, width = [], []
        for value in widths:
            one = positive_number("an entry of widths", value, "standard deviation in eV")
            count = math.ceil((energies[-1] - energies[0]) / one - 1e-9) + 1
            centres.append(torch.linspace(energies[0], energies[-1], count, dtype=torch.float64))
            width.append(torch.full((count,), one, dtype=torch.float64))
        self.register_buffer("grid", torch.tensor(energies, dtype=torch.float64))
        self.register_buffer("centres", torch.cat(centres))
        self.register_buffer("width", torch.cat(width))
        self.size = len(self.centres)

    def forward(self, coefficients: Tensor, shift: Tensor) -> Tensor:
        """Spectra (A, E) in 1/eV, which have positive values if the coefficients are positive.

        Parameters
        ----------
        coefficients : (A, K)
        shift : (A, K) eV
            By which each Gaussian lies higher than its place on the grid.
        """
        # No matrix product, which mixed precision would make one of half precision.
        return (self.gaussians(shift) * coefficients.unsqueeze(1)).sum(-1)

    def gaussians(self, shift: Tensor) -> Tensor:
        """Values (A, E, K) of the Gaussians on the grid, 1/eV, shifted by (A, K) eV."""
        away = self.grid.unsqueeze(-1) - (self.centres + shift).unsqueeze(1)
        return torch.exp(-0.5 * (away / self.width).square()) / (
            math.sqrt(2 * math.pi) * self.width
        )

    def positive_fit(self, spectrum: Tensor, rounds: int = 500) -> Tensor:
        """Positive coefficients (K,) whose sum of Gaussians is near a spectrum (E,).

        By multiplicative updates that never leave the positive numbers, from equal ones:
        doi:10.1038/44565. Early rounds make smooth fits, and none of the coefficients zero.

        Parameters
        ----------
        spectrum : (E,) 1/eV
            Not negative.
        rounds : int
        """
        matrix = self.gaussians(self.grid.new_zeros(1, self.size))[0]
        wanted = matrix.T @ spectrum.to(matrix)
        tiny = torch.finfo(matrix.dtype).tiny
        coefficients = matrix.new_full((self.size,), float(wanted.mean() / matrix.square().sum()))
        for _ in range(rounds):
            coefficients = coefficients * wanted / (matrix.T @ (matrix @ coefficients) + tiny)
        return coefficients
