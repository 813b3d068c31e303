"""Metropolized jumps with bad potentials, where the ensemble is known: exact, whatever the jump."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.blocks import (
    Expected,
    Histogram,
    Moments,
    deviate,
    expected_largest,
    family_limit,
    histogram_test,
    measured,
    moments,
    z_score,
)
from benchmarks.common import RESULTS
from benchmarks.exactness import expected_from
from benchmarks.known_ensembles import CONTAINER, SYSTEMS
from benchmarks.monte_carlo import droplet_monte_carlo
from benchmarks.sampling import Averages, compare, sample
from benchmarks.surfaces import ARGON, Surface
from kstep_integrators.state import make_state

SMALL = ["quartic", "double well", "harmonic"]
CORRECTORS = ["none", "impulse", "filtered"]


def check(averages, report, known):
    tests = compare(averages, known)
    worst = max(tests.rows, key=lambda row: abs(row["deviate"]))
    # three sigma for all comparisons together
    assert abs(worst["deviate"]) < family_limit(len(tests.rows)), worst
    assert abs(report["exp_minus_dH_deviate"]) < 3.0


@pytest.mark.parametrize("chances", [0, 3])
@pytest.mark.parametrize("corrector", CORRECTORS)
@pytest.mark.parametrize("name", SMALL)
def test_means_variances_and_histograms(name, corrector, chances):
    system = SYSTEMS[name]()
    averages, report = sample(system, corrector, chances, 200, 40, 150, seed=3)
    check(averages, report, system.expected)
    # bad enough that the test has something to do
    assert 0.6 < report["sigma_dH_kT"] < 3.0
    assert 0.4 < report["accepted_first"] < 0.9


@pytest.mark.parametrize("name", SMALL)
def test_without_the_metropolis_test_the_same_checks_fail(name):
    system = SYSTEMS[name]()
    averages, _ = sample(system, "none", 0, 200, 40, 150, seed=3, metropolize=False)
    tests = compare(averages, system.expected)
    assert max(tests.deviates) > 10.0


@pytest.fixture(scope="module")
def droplets():
    """LJ13 with equilibrium positions by Monte Carlo, and what is known of it."""
    system = SYSTEMS["LJ13"]()
    epsilon, sigma, _ = ARGON
    kept = {}
    droplet_monte_carlo(
        np.tile(system.positions, (48, 1, 1)), system.kt, epsilon, sigma, CONTAINER, 600, 0.35,
        np.random.default_rng(1), lambda sweep, x: kept.update(x=x.copy()),
    )  # fmt: skip
    written = json.loads((RESULTS / "exactness.json").read_text())["reference"]
    known = {**system.expected, **expected_from(written)}
    return dataclasses.replace(system, positions=kept["x"], spread=0.0), known


@pytest.mark.parametrize(
    ("corrector", "chances", "strides"),
    [("none", 0, 200), ("none", 3, 150), ("impulse", 0, 120), ("impulse", 3, 120),
     ("filtered", 3, 40)],
)  # fmt: skip
def test_lennard_jones_droplet(corrector, chances, strides, droplets):
    """Virial theorem, centre of mass, energy, radial and pair distances."""
    system, known = droplets
    averages, report = sample(system, corrector, chances, 48, 10, strides, seed=4)
    # histograms of few replicas that stay in some bins only have no covariance
    moments_only = {name: dataclasses.replace(e, histogram=None) for name, e in known.items()}
    check(averages, report, moments_only)
    assert 0.7 < report["sigma_dH_kT"] < 3.0
    assert 0.3 < report["accepted_first"] < 0.9
