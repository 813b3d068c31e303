"""A method that has nothing wrong misses no more often than stated."""

import numpy as np
import pytest
from scipy import stats

from kstep_training.evaluate.checks import MISS, check_equipartition
from kstep_training.evaluate.dynamics_checks import check_dynamics
from kstep_training.evaluate.noise import SIGMA3, estimate, t_limit, written

RUNS, TRIALS = 8, 4000
MOST = SIGMA3 * TRIALS + 3.0 * np.sqrt(SIGMA3 * TRIALS)
"""Misses by chance, at three sigma."""


def dynamics(rng, **more):
    row = {"drift": rng.normal(size=RUNS), "fluctuation": np.ones(RUNS), "length_ps": 1.0}
    return {**row, **more}


def misses(rows, bar=None):
    checks = [c for row in rows for c in check_dynamics("m", row, None, bar)]
    return {
        what: sum(c.status == MISS for c in checks if c.what == what)
        for what in {c.what for c in checks}
    }


def test_the_limit_of_one_and_of_several():
    assert t_limit(10_000) == pytest.approx(3.0, abs=0.01)
    assert t_limit(1) == np.inf
    for tests in (1, 4):
        both_sides = 2.0 * stats.t.sf(t_limit(RUNS, tests), RUNS - 1)
        assert tests * both_sides == pytest.approx(SIGMA3)


def test_the_worst_of_four_elements_misses_as_seldom_as_one():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(TRIALS, 4, RUNS))
    rows = [
        {"temperature": dict(zip("HCNO", map(written, map(estimate, t)), strict=True))}
        for t in draws
    ]
    checks = [check_equipartition("dynamics", "m", row)[0] for row in rows]
    assert 0 < sum(c.status == MISS for c in checks) <= MOST
    # Against the limit for one it would not be so.
    careless = [
        max(abs(t["mean"]) / t["limit"] for t in row["temperature"].values()) > 1.0 for row in rows
    ]
    assert sum(careless) > MOST


def test_drifts_of_nothing_but_noise():
    rng = np.random.default_rng(4)
    assert 0 < misses([dynamics(rng) for _ in range(TRIALS)])["drift"] <= MOST


def test_a_drift_as_large_as_that_of_the_bar_is_no_miss():
    rng = np.random.default_rng(1)
    bar = {"drift": 1.0 + rng.normal(size=RUNS), "fluctuation": np.ones(RUNS), "cost": None}
    rows = [{**dynamics(rng), "drift": 1.0 + rng.normal(size=RUNS)} for _ in range(TRIALS)]
    assert misses(rows, bar)["drift"] <= MOST


@pytest.mark.parametrize("bands", [("stretches",), ("bends", "stretches")])
def test_bands_together_miss_as_seldom_as_one(bands):
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(TRIALS):
        spectra = {"bands": len(bands), "resolution": 28.0}
        for band in bands:
            known = estimate(rng.normal(size=RUNS))
            noise = t_limit(known.count, len(bands)) * known.error
            spectra[band] = {"shift": known.mean, "noise": noise}
        rows.append(dynamics(rng, spectra=spectra))
    missed = misses(rows)
    assert 0 < sum(missed[band] for band in bands) <= MOST


def test_ratios_of_equals_miss_half_as_often():
    rng = np.random.default_rng(3)
    draws = np.exp(rng.normal(size=(TRIALS, 2, RUNS)))
    rows = [dynamics(rng, distance=a, cost=None) for a, _ in draws]
    count = 0
    for row, (_, b) in zip(rows, draws, strict=True):
        bar = {"distance": b, "fluctuation": np.ones(RUNS), "cost": None, "drift": row["drift"]}
        count += misses([row], bar)["trajectory"]
    assert 0 < count <= 0.5 * SIGMA3 * TRIALS + 3.0 * np.sqrt(0.5 * SIGMA3 * TRIALS)
