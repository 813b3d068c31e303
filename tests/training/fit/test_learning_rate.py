"""The schedule of the learning rate at steps worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.fit.lightning_module import EnergyFit, learning_rate_factor
from kstep_training.fit.settings import FitSettings


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.1),  # warm-up of ten steps: 1/10, 2/10, ...
        (1, 0.2),
        (9, 1.0),
        (10, 1.0),  # the cosine begins
        (60, 0.505),  # halfway: the mean of 1 and 0.01
        (35, 0.01 + 0.99 * 0.5 * (1.0 + math.sqrt(0.5))),  # a quarter: cos 45 degrees
        (110, 0.01),
        (10_000, 0.01),  # not up again
    ],
)
def test_factor(step: int, factor: float) -> None:
    assert learning_rate_factor(step, warmup=10, total=110, final=0.01) == pytest.approx(factor)


def test_no_warmup_and_warmup_longer_than_the_fit() -> None:
    assert learning_rate_factor(0, warmup=0, total=10, final=0.1) == 1.0
    assert learning_rate_factor(10, warmup=0, total=10, final=0.1) == pytest.approx(0.1)
    assert learning_rate_factor(4, warmup=100, total=10, final=0.1) == pytest.approx(0.05)
    assert learning_rate_factor(101, warmup=100, total=10, final=0.1) == pytest.approx(0.1)


def test_the_optimizer_follows_it() -> None:
    config = FitSettings(learning_rate=0.5, final_learning_rate=0.005, warmup_steps=10)
    network = EnergyNetwork([1], channels=4, layers=1, radial=2)
    parts = EnergyFit(network, config, total_steps=110).configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert parts["lr_scheduler"]["interval"] == "step"
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    rates = []
    for _ in range(61):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.05)
    assert rates[9] == rates[10] == pytest.approx(0.5)
    assert rates[60] == pytest.approx(0.2525)
