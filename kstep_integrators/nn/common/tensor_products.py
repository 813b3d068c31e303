"""Convolutions with spherical harmonics up to l = 2, by e3nn, for both kinds of networks.

Batzner et al., "E(3)-equivariant graph neural networks for data-efficient and accurate interatomic
potentials" (NequIP, 2022), doi:10.1038/s41467-022-29939-5. Features of natural parity only. This
module imports e3nn (doi:10.48550/arXiv.2207.09453), and no other does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import e3nn
import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.nn.common.edges import SUM_SCALE
from kstep_integrators.nn.common.graph import neighbor_values

__all__ = ["Convolution", "exact_constants", "gated_irreps", "spherical_harmonics"]

HARMONICS = o3.Irreps("0e + 1o + 2e")


@contextmanager
def exact_constants(module: nn.Module) -> Iterator[None]:
    """Have e3nn make the parts of a module with constants in float64, and without TorchScript.

    Both are settings of a process, put back at the end. Constants in single precision would limit
    equivariance in double precision to theirs. Weights are in the default precision afterwards;
    constants belong to the code and not to a model file.

    Parameters
    ----------
    module : Module
        Whose parts are made inside.
    """
    dtype, mode = torch.get_default_dtype(), e3nn.get_optimization_defaults()["jit_mode"]
    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(jit_mode=mode)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    for part in module.modules():
        for name, constant in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, constant, persistent=False)


class Convolution(nn.Module):
    """Neighbours' features times harmonics, filtered by distance, summed and gated.

    Parameters
    ----------
    given : e3nn.o3.Irreps
        What the features are.
    channels, radial : int
        Scalars of the result, which has the vectors and tensors of :func:`gated_irreps` too, and
        size of the radial basis.
    """

    def __init__(self, given: o3.Irreps, channels: int, radial: int) -> None:
        super().__init__()
        scalars, gated = gated_irreps(channels)
        gates = o3.Irreps([(gated.num_irreps, "0e")])
        self.gate = Gate(scalars, [functional.silu], gates, [torch.sigmoid], gated)
        paths: list[tuple[int, int, int, str, bool]] = []
        products: list[tuple[int, o3.Irrep]] = []
        for i, (count, left) in enumerate(given):
            for j, (_, right) in enumerate(HARMONICS):
                for out in left * right:
                    if out in HARMONICS:
                        paths.append((i, j, len(products), "uvu", True))
                        products.append((count, out))
        self.product = o3.TensorProduct(
            given, HARMONICS, o3.Irreps(products), paths, shared_weights=False
        )
        self.sent = o3.Linear(given, given)
        self.hidden = nn.Linear(radial, channels)
        self.weights = nn.Linear(channels, self.product.weight_numel)
        self.gathered = o3.Linear(self.product.irreps_out, self.gate.irreps_in)
        self.kept = o3.Linear(given, self.gate.irreps_in)

    def forward(
        self, h: Tensor, harmonics: Tensor, basis: Tensor, cut: Tensor, index: Tensor | None
    ) -> Tensor:
        """Features (..., N, D) of the next layer.

        Parameters
        ----------
        h : (..., N, D)
        harmonics : (..., N, K, 9)
            Of the directions to the neighbours.
        basis : (..., N, K, R)
        cut : (..., N, K, 1)
        index : (N, K) int64 or None
        """
        sent = neighbor_values(self.sent(h), index)
        sent = sent.expand(*harmonics.shape[:-1], sent.shape[-1])
        weights = self.weights(functional.silu(self.hidden(basis))) * cut
        messages = self.product(sent, harmonics, weights).sum(-2)
        gated: Tensor = self.gate(self.kept(h) + SUM_SCALE * self.gathered(messages))
        return gated


def spherical_harmonics(unit: Tensor) -> Tensor:
    """Spherical harmonics (..., 9) of directions (..., 3)."""
    values: Tensor = o3.spherical_harmonics(
        HARMONICS, unit, normalize=False, normalization="component"
    )
    return values


def gated_irreps(channels: int) -> tuple[o3.Irreps, o3.Irreps]:
    """Scalars, and vectors and tensors of which there are half and a quarter as many."""
    halves = [(max(1, channels // 2), "1o"), (max(1, channels // 4), "2e")]
    return o3.Irreps([(channels, "0e")]), o3.Irreps(halves)
