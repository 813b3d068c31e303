"""Cutoff, Bessel basis and frozen distances."""

import itertools

import pytest
import torch

from kstep_integrators.nn.common.radial import BesselBasis, frozen_below, smooth_cutoff


def test_the_cutoff_has_three_continuous_derivatives():
    derivatives = []
    d = torch.tensor([1e-3, 5.0 - 1e-9, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    value = smooth_cutoff(d, 5.0)
    for _ in range(3):
        (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
        derivatives.append(value.detach())
    for derivative in derivatives:
        assert derivative[0].abs() < 1e-1 * 1e-3 or derivative[0].abs() < 2e-3
        assert derivative[1:].abs().max() < 1e-6
    assert smooth_cutoff(torch.tensor(5.0), 5.0) == 0
    assert smooth_cutoff(torch.tensor(0.0), 5.0) == 1
    # u = 1/2: 1 - 35/16 + 84/32 - 70/64 + 20/128 = 1/2
    assert float(smooth_cutoff(torch.tensor(2.5, dtype=torch.float64), 5.0)) == pytest.approx(0.5)


def test_the_bessel_basis_is_orthonormal():
    basis = BesselBasis(4, 5.0)
    r = torch.linspace(1e-6, 5.0, 20001, dtype=torch.float64)
    values = basis(r) * r.unsqueeze(-1)
    overlap = torch.trapezoid(values.unsqueeze(-1) * values.unsqueeze(-2), r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_distances_are_frozen_below_the_nearest():
    d = torch.linspace(0.05, 2.0, 4000, dtype=torch.float64, requires_grad=True)
    nearest = torch.tensor(1.0, dtype=torch.float64)
    seen = frozen_below(d, nearest)
    inside, beyond = d.detach() < 0.8, d.detach() >= 1.0
    assert (seen[beyond] == d[beyond]).all()
    # 1 - w + w (1 - P(1)), P(1) = 1/2
    assert (seen[inside] - 0.9).abs().max() < 1e-12
    value, step = seen, float(d.detach().diff()[0])
    slopes = []
    for _ in range(4):
        (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
        slopes.append(value.detach())
        assert value[inside].abs().max() == 0
    # continuous: no jump beyond what the next derivative explains
    for low, high in itertools.pairwise(slopes):
        assert low.diff().abs().max() < 1.5 * step * high.abs().max()
