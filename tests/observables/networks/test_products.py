"""Products of features with spherical harmonics, against those of e3nn."""

from __future__ import annotations

import pytest
import torch
from e3nn import o3

from kstep_integrators.nn.common.tensor_products import exact_constants
from kstep_integrators.observables.networks.products import HarmonicProducts


@pytest.mark.parametrize("features", ["8x0e + 1x1o + 1x2e", "2x0e + 3x1o + 2x2e + 1x3o", "4x0e"])
def test_products_are_those_of_e3nn(features: str) -> None:
    irreps, harmonics = o3.Irreps(features), o3.Irreps.spherical_harmonics(3)
    module = torch.nn.Module()
    with exact_constants(module):
        module.products = HarmonicProducts(irreps, harmonics)
        paths = []
        for i, (_, left) in enumerate(irreps):
            for j, (_, right) in enumerate(harmonics):
                wanted = [out for out in left * right if out in irreps]
                paths += [(i, j, len(paths) + k, "uvu", True) for k in range(len(wanted))]
        module.theirs = o3.TensorProduct(
            irreps, harmonics, module.products.irreps_out, paths, shared_weights=False
        )
    products, theirs = module.products, module.theirs
    assert products.weights == theirs.weight_numel
    torch.manual_seed(0)
    left, right, weights = (
        torch.randn(7, size, dtype=torch.float64)
        for size in (irreps.dim, harmonics.dim, products.weights)
    )
    found = products(left.T, products.couplings(right), weights.T).T
    assert torch.allclose(found, theirs(left, right, weights), rtol=0.0, atol=1e-12)
