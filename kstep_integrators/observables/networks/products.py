"""Tensor products of features with spherical harmonics, with a weight for each channel and edge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor, nn

__all__ = ["HarmonicProducts"]


@dataclass(frozen=True)
class _Path:
    """One way of coupling a block of features to harmonics."""

    block: int
    channels: int
    given: int
    made: int


class HarmonicProducts(nn.Module):
    """Products of features with spherical harmonics, of all irreps that the features have.

    They are those of :class:`e3nn.o3.TensorProduct` with connections ``uvu``. What does not depend
    on the features, Clebsch-Gordan coefficients times harmonics, is computed once for all layers,
    and edges are the last axis of all arrays, along which processors compute fastest: on a core,
    twice the speed.

    Parameters
    ----------
    features, harmonics : e3nn.o3.Irreps

    Examples
    --------
    >>> from e3nn import o3
    >>> from kstep_integrators.observables.networks.products import HarmonicProducts
    >>> products = HarmonicProducts(o3.Irreps("8x0e + 1o"), o3.Irreps("0e + 1o"))
    >>> products.irreps_out, products.weights
    (8x0e+8x1o+1x1o+1x0e, 18)
    """

    coefficients: Tensor

    def __init__(self, features: o3.Irreps, harmonics: o3.Irreps) -> None:
        super().__init__()
        self.paths: list[_Path] = []
        made: list[tuple[int, o3.Irrep]] = []
        coefficients: list[Tensor] = []
        for block, (count, left) in enumerate(features):
            for (_, right), where in zip(harmonics, harmonics.slices(), strict=True):
                for out in left * right:
                    if out not in features:
                        continue
                    size = left.dim * out.dim
                    coupling = out.dim**0.5 * o3.wigner_3j(left.l, right.l, out.l)
                    rows = torch.zeros(size, harmonics.dim)
                    rows[:, where] = coupling.transpose(1, 2).reshape(size, right.dim)
                    coefficients.append(rows)
                    self.paths.append(_Path(block, count, left.dim, out.dim))
                    made.append((count, out))
        self.irreps_out = o3.Irreps(made)
        self.weights = self.irreps_out.num_irreps
        self.blocks = [count * ir.dim for count, ir in features]
        self.register_buffer("coefficients", torch.cat(coefficients))

    def couplings(self, harmonics: Tensor) -> Tensor:
        """Coefficients times harmonics (P, H) of edges, (C, P)."""
        return self.coefficients @ harmonics.T

    def forward(self, features: Tensor, couplings: Tensor, weights: Tensor) -> Tensor:
        """Products (D', P) of :attr:`irreps_out`.

        Parameters
        ----------
        features : (D, P)
            Of the senders of the edges.
        couplings : (C, P)
            Of :meth:`couplings`.
        weights : (W, P)
        """
        products = []
        # One split each, whose gradient is one array; that of each slice would be as large.
        blocks = features.split(self.blocks)
        filters = weights.split([path.channels for path in self.paths])
        parts = couplings.split([path.given * path.made for path in self.paths])
        for path, by, part in zip(self.paths, filters, parts, strict=True):
            block = blocks[path.block].unflatten(0, (path.channels, path.given))
            weighted = block * by.unsqueeze(1)
            coupling = part.unflatten(0, (path.given, path.made))
            if path.given == 1:
                product = weighted * coupling
            else:
                product = (weighted.unsqueeze(2) * coupling).sum(1)
            products.append(product.flatten(0, 1))
        return torch.cat(products)
