"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from kstep_training.fit.losses import (
    energy_loss,
    force_loss,
    force_squared_error,
    increment_loss,
)

# Two molecules padded to three atoms: the first has two atoms, the second three.
MASK = torch.tensor([[True, True, False], [True, True, True]])
LABEL = torch.tensor(
    [
        [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0], [0.0, 0.0, 0.0]],
        [[0.2, 0.0, 0.0], [0.0, -0.4, 0.0], [4.0, 0.0, 1.0]],
    ]
)
ERROR = torch.tensor(
    [
        [[0.1, 0.0, -0.2], [0.0, 0.3, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, -1.0]],
    ]
)
# Squares of the errors: 0.01 + 0.04 + 0.09 + 4 + 1 = 5.14, over 3 * 5 = 15 real components.
SUM, COUNT = 5.14, 15


def test_force_squared_error() -> None:
    total, count = force_squared_error(LABEL + ERROR, LABEL, MASK)
    assert float(total) == pytest.approx(SUM)
    assert int(count) == COUNT


def test_force_loss_is_the_mean_square_below_delta() -> None:
    loss = force_loss(LABEL + ERROR, LABEL, MASK, delta=10.0)
    assert float(loss) == pytest.approx(SUM / COUNT)


def test_force_loss_is_linear_beyond_delta() -> None:
    # delta = 0.5. Huber is e^2 / 2 up to delta, then delta (|e| - delta / 2):
    #   0.1, -0.2, 0.3: 0.005 + 0.020 + 0.045 = 0.07
    #   2.0: 0.5 (2.0 - 0.25) = 0.875;  -1.0: 0.5 (1.0 - 0.25) = 0.375
    # Sum 1.32; twice that over 15 components: 0.176.
    assert float(force_loss(LABEL + ERROR, LABEL, MASK, delta=0.5)) == pytest.approx(0.176)


def test_the_gradient_of_an_outlier_is_bounded_by_delta() -> None:
    predicted = (LABEL + ERROR).requires_grad_(True)
    force_loss(predicted, LABEL, MASK, delta=0.5).backward()
    assert predicted.grad is not None
    # d/de of 2 * Huber / 15: 2 * 0.1 / 15 below delta, 2 * 0.5 / 15 beyond.
    assert float(predicted.grad[0, 0, 0]) == pytest.approx(0.2 / 15)
    assert float(predicted.grad[1, 2, 0]) == pytest.approx(1.0 / 15)
    assert float(predicted.grad[1, 2, 2]) == pytest.approx(-1.0 / 15)


def test_energy_loss() -> None:
    # Errors 0.4 eV on 2 atoms and -0.6 eV on 3: both 0.2 eV/atom in size; (0.04 + 0.04) / 2.
    label = torch.tensor([-5.0, 7.0])
    assert float(energy_loss(label + torch.tensor([0.4, -0.6]), label, MASK)) == pytest.approx(0.04)
    # 0.4 eV on 2 atoms alone: (0.04 + 0) / 2.
    assert float(energy_loss(label + torch.tensor([0.4, 0.0]), label, MASK)) == pytest.approx(0.02)


def test_losses_compare_with_the_label() -> None:
    """Zero at the label, whatever its size, and not at zero: a loss of pred^2 fails here."""
    energy = torch.tensor([-5.0, 7.0])
    assert float(force_loss(LABEL, LABEL, MASK, 0.3)) == 0.0
    assert float(force_squared_error(LABEL, LABEL, MASK)[0]) == 0.0
    assert float(energy_loss(energy, energy, MASK)) == 0.0
    assert float(force_loss(torch.zeros_like(LABEL), LABEL, MASK, 0.3)) > 0.1
    assert float(force_squared_error(torch.zeros_like(LABEL), LABEL, MASK)[0]) > 1.0
    assert float(energy_loss(torch.zeros(2), energy, MASK)) > 1.0


@pytest.mark.parametrize("delta", [0.5, 10.0])
@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
def test_padding_contributes_nothing(delta: float, garbage: float) -> None:
    predicted = LABEL + ERROR
    polluted = predicted.clone()
    polluted[0, 2] = garbage
    polluted.requires_grad_(True)
    loss = force_loss(polluted, LABEL, MASK, delta)
    assert loss.item() == force_loss(predicted, LABEL, MASK, delta).item()
    loss.backward()
    assert polluted.grad is not None
    assert torch.equal(polluted.grad[0, 2], torch.zeros(3))
    assert polluted.grad.isfinite().all()
    total, count = force_squared_error(polluted.detach(), LABEL, MASK)
    assert (float(total), int(count)) == (pytest.approx(SUM), COUNT)


# Standard deviations of each atom; that of the padding atom must not matter.
SCALE = torch.tensor([[0.1, 0.3, 0.0], [0.2, 0.4, 0.5]])


def test_increment_loss_is_the_mean_square_in_standard_deviations() -> None:
    # Errors over scales: 1, -2 of the first atom, 1 of the second, 4 and -2 of the last:
    # 1 + 4 + 1 + 16 + 4 = 26 over 15 components.
    loss = increment_loss(LABEL + ERROR, LABEL, SCALE, MASK, delta=10.0)
    assert float(loss) == pytest.approx(26.0 / 15.0)


def test_increment_loss_is_linear_beyond_delta() -> None:
    # delta = 1.5 standard deviations: 1 -> 0.5; 2 -> 1.5 (2 - 0.75) = 1.875; 4 -> 1.5 (4 - 0.75) =
    # 4.875. Sum 0.5 + 1.875 + 0.5 + 4.875 + 1.875 = 9.625; twice that over 15.
    loss = increment_loss(LABEL + ERROR, LABEL, SCALE, MASK, delta=1.5)
    assert float(loss) == pytest.approx(19.25 / 15.0)


def test_increment_loss_compares_with_the_label() -> None:
    assert float(increment_loss(LABEL, LABEL, SCALE, MASK, 2.0)) == 0.0
    assert float(increment_loss(torch.zeros_like(LABEL), LABEL, SCALE, MASK, 2.0)) > 1.0


def test_no_prediction_costs_one() -> None:
    """Where scales are the root mean squares of the labels."""
    label = torch.randn(400, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(400, 5, dtype=torch.bool)
    scale = label.square().mean().sqrt().expand(400, 5)
    loss = increment_loss(torch.zeros_like(label), label, scale, mask, delta=100.0)
    assert float(loss) == pytest.approx(1.0, rel=1e-5)


def test_gradient_of_the_increment_loss() -> None:
    predicted = (LABEL + ERROR).requires_grad_(True)
    increment_loss(predicted, LABEL, SCALE, MASK, delta=10.0).backward()
    assert predicted.grad is not None
    # 2 (error / scale) / scale / 15: 2 * 1 / 0.1 / 15 and 2 * 4 / 0.5 / 15.
    assert float(predicted.grad[0, 0, 0]) == pytest.approx(20.0 / 15.0)
    assert float(predicted.grad[1, 2, 0]) == pytest.approx(16.0 / 15.0)
    assert torch.equal(predicted.grad[0, 2], torch.zeros(3))
