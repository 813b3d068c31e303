"""The test of distributions: honest under the null, awake to a shift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from kstep_integrators.diagnostics import compare_curves, compare_runs


def runs(count: int, seed: int, shift: float = 0.0, width: float = 1.0) -> list[np.ndarray]:
    """Correlated runs of a normal variable of variance 1: effective samples of some 60 each."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        # A moving average of seven, kept every second frame.
        noise = rng.standard_normal(606)
        x = np.convolve(noise, np.full(7, 7**-0.5), mode="valid")[::2]
        out.append(shift + width * x)
    return out


def test_p_values_are_uniform_under_the_null() -> None:
    found = np.array([compare_runs(runs(4, 2 * i), runs(4, 2 * i + 1)).p_value for i in range(400)])
    assert found.mean() == pytest.approx(0.5, abs=3 * np.sqrt(1 / 12 / 400) + 1 / 70)
    for level in (0.1, 0.25, 0.5, 0.75):
        spread = 3.0 * np.sqrt(level * (1.0 - level) / len(found))
        # One of 70 labellings, and its mirror image, is the given one.
        assert abs(np.mean(found <= level) - level) < spread + 2 / 70


@pytest.mark.parametrize(("shift", "width"), [(0.3, 1.0), (0.0, 1.3)])
def test_power(shift: float, width: float) -> None:
    found = [
        compare_runs(runs(6, 2 * i, shift, width), runs(6, 2 * i + 1), permutations=300)
        for i in range(30)
    ]
    assert np.mean([f.p_value < 0.05 for f in found]) > 0.8


def test_distance_in_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    first = [5.0 + 3.0 * rng.standard_normal(20_000) for _ in range(4)]
    second = [5.6 + 3.0 * rng.standard_normal(20_000) for _ in range(4)]
    found = compare_runs(first, second)
    # A shift by d moves everything by d; the pooled deviation is sqrt(9 + 0.09).
    expected = 0.6 / np.sqrt(9.09)
    assert found.distance == pytest.approx([expected], abs=3 * np.sqrt(2 / 80_000))
    assert found.floor[0] < found.distance[0]
    assert found.p_value == pytest.approx(2 / 70)


def test_many_quantities_and_floor() -> None:
    rng = np.random.default_rng(1)
    first = [rng.standard_normal((500, 3)) for _ in range(5)]
    second = [rng.standard_normal((500, 3)) + np.array([0.0, 0.5, 0.0]) for _ in range(5)]
    found = compare_runs(first, second)
    assert found.distance.shape == found.floor.shape == (3,)
    assert int(found.distance.argmax()) == 1
    assert found.p_value < 0.02
    # Without a difference, distance and floor are alike.
    assert found.distance[[0, 2]] == pytest.approx(found.floor[[0, 2]], rel=1.0)


def test_circle() -> None:
    rng = np.random.default_rng(2)

    def around(centre: float) -> list[np.ndarray]:
        return [rng.normal(centre, 0.2, 4_000) for _ in range(4)]

    # Two wells at either side of the cut: 0.3 apart the short way.
    found = compare_runs(around(np.pi - 0.15), around(-np.pi + 0.15), circular=True)
    assert found.distance == pytest.approx([0.3], abs=0.02)
    assert compare_runs(around(0.0), around(2 * np.pi), circular=True).distance[0] < 0.03


def test_random_labels_agree_with_all() -> None:
    first, second = runs(5, 0, shift=0.1), runs(5, 1)
    every = compare_runs(first, second)
    some = compare_runs(first, second, permutations=200, rng=np.random.default_rng(3))
    assert some.distance == pytest.approx(every.distance)
    spread = np.sqrt(every.p_value * (1.0 - every.p_value) / 200)
    assert abs(some.p_value - every.p_value) < 3.0 * spread + 1 / 201


def test_curves_have_uniform_p_values_and_power() -> None:
    rng = np.random.default_rng(5)
    drawn = rng.normal(size=(400, 12, 10)).cumsum(axis=2)  # neighbouring points are correlated
    p = [compare_curves(curves[:6], curves[6:]).p_value for curves in drawn]
    assert kstest(p, "uniform").pvalue > 0.003
    shifted = drawn[0].copy()
    shifted[:6] += 6.0
    found = compare_curves(shifted[:6], shifted[6:])
    assert found.p_value == pytest.approx(2 / 924)
    assert found.distance > 2.0 * found.floor


def test_curves_by_hand() -> None:
    found = compare_curves([[0.0, 0.0], [0.0, 2.0]], [[4.0, 1.0], [4.0, 1.0]])
    # Of the three ways to part them, the given one is the furthest, and its mirror image.
    assert found.distance == 2.0
    assert found.p_value == pytest.approx(2 / 6)
    assert found.floor == pytest.approx((2.0 + 4 * 0.5) / 5)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 3)), np.zeros((2, 3)), "two rows or more"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "of one length"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "not finite"),
    ],
)
def test_curves_refused(first: np.ndarray, second: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_curves(first, second)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([np.arange(3.0)], [np.arange(3.0)] * 2, "1 and 2 runs"),
        ([np.zeros((3, 1, 1))] * 2, [np.arange(3.0)] * 2, r"shape \(3, 1, 1\)"),
        ([np.zeros((3, 2))] * 2, [np.arange(3.0)] * 2, r"\[1, 2\] quantities"),
        ([np.array([np.inf])] * 2, [np.arange(3.0)] * 2, "not finite"),
        ([np.ones(3)] * 2, [np.ones(3)] * 2, "nothing to compare"),
    ],
)
def test_refused(first: list[np.ndarray], second: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_runs(first, second)
