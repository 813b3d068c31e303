"""Correlation times against processes whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest

from kstep_integrators.diagnostics import autocorrelation, block_error, correlation, on_circle


def autoregressive(phi: float, runs: int, frames: int, seed: int) -> np.ndarray:
    """x' = phi x + noise, variance 1, from its stationary law."""
    rng = np.random.default_rng(seed)
    x = np.empty((runs, frames))
    x[:, 0] = rng.standard_normal(runs)
    noise = np.sqrt(1.0 - phi**2) * rng.standard_normal((runs, frames))
    for i in range(1, frames):
        x[:, i] = phi * x[:, i - 1] + noise[:, i]
    return x


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.6, 0.95])
def test_autoregressive(phi: float) -> None:
    found = correlation(autoregressive(phi, 8, 20_000, seed=3))
    exact = (1.0 + phi) / (1.0 - phi)
    # What the window leaves out: exp(-5) of the sum, or all beyond the third lag.
    slack = exact * np.exp(-5.0) if phi >= 0 else 2.0 * phi**4 / (1.0 - phi)
    assert abs(found.inefficiency - exact) < 3.0 * found.error + slack
    assert found.error < 0.1 * exact
    assert found.effective_samples == pytest.approx(160_000 / found.inefficiency)
    assert found.resolved


def test_error_is_the_scatter() -> None:
    found = [correlation(autoregressive(0.8, 4, 2_000, seed)) for seed in range(200)]
    scatter = np.std([f.inefficiency for f in found])
    mean = np.mean([f.error for f in found])
    # A standard deviation of 200 values is known to 5 %; the formula is the leading order.
    assert scatter == pytest.approx(mean, rel=0.25)


def test_autocorrelation_by_definition() -> None:
    x = np.random.default_rng(0).standard_normal((2, 7)).cumsum(axis=1)
    d = x - x.mean()
    direct = [np.mean(d[:, : 7 - lag] * d[:, lag:]) for lag in range(7)]
    assert autocorrelation(x) == pytest.approx(np.array(direct) / direct[0])


def test_runs_that_stay_where_they_began() -> None:
    rng = np.random.default_rng(5)
    x = np.repeat([[0.0], [0.0], [4.0], [4.0]], 3_000, axis=1) + rng.standard_normal((4, 3_000))
    found = correlation(x)
    assert not found.resolved
    assert found.effective_samples < 20


def test_angle_does_not_notice_where_it_is_cut() -> None:
    angle = autoregressive(0.9, 8, 5_000, seed=1).cumsum(axis=1) * 0.2
    found = correlation(on_circle(angle))
    turned = correlation(on_circle(np.mod(angle + 2.0, 2.0 * np.pi)))
    assert turned.inefficiency == pytest.approx(found.inefficiency)
    assert found.resolved


def test_brownian_angle() -> None:
    # The autocorrelation of the unit vector is exp(-s^2 lag / 2).
    rng = np.random.default_rng(2)
    size = 0.5
    angle = rng.uniform(0, 2 * np.pi, (8, 1)) + rng.normal(0, size, (8, 20_000)).cumsum(axis=1)
    decay = np.exp(-0.5 * size**2)
    exact = (1.0 + decay) / (1.0 - decay)
    found = correlation(on_circle(angle))
    assert abs(found.inefficiency - exact) < 3.0 * found.error + exact * np.exp(-5.0)


def test_block_errors() -> None:
    phi, runs, frames = 0.9, 50, 4_000
    x = autoregressive(phi, runs, frames, seed=7)
    exact = np.sqrt((1.0 + phi) / (1.0 - phi) / (runs * frames))
    for blocks in (1, 10):
        found = float(block_error(x, blocks))
        assert abs(found / exact - 1.0) < 3.0 / np.sqrt(2.0 * (runs * blocks - 1))
    both = block_error(np.stack([x, 2.0 * x], axis=-1))
    assert both == pytest.approx([float(block_error(x)), 2.0 * float(block_error(x))])


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((2, 1)), "at least 2 frames"),
        (np.array([[0.0, np.nan, 1.0]]), "not finite"),
        (np.full((2, 9), 0.1), "constant"),
    ],
)
def test_refused(series: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        correlation(series)


def test_refused_numbers() -> None:
    x = autoregressive(0.0, 1, 10, seed=0)
    with pytest.raises(ValueError, match=r"window is 0\.0"):
        correlation(x, window=0.0)
    with pytest.raises(ValueError, match="two blocks or more"):
        block_error(x)
    with pytest.raises(ValueError, match="two blocks or more"):
        block_error(np.concatenate([x, x]), blocks=0)
