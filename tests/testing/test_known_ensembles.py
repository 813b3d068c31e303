"""Metropolized jumps with bad potentials, where the ensemble is known: exact, whatever the jump."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from kstep_integrators.testing import MorseNetwork
from kstep_integrators.testing.block_averages import (
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
from kstep_integrators.testing.droplet import equilibrated, expected_from
from kstep_integrators.testing.known_ensembles import SYSTEMS
from kstep_integrators.testing.sampling import Averages, compare, sample
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.testing.system import replicas
from tests.conftest import hot

COMMITTED = Path(__file__).parents[2] / "benchmarks/results/exactness.json"
"""With a long Monte Carlo run of the droplet."""
SMALL = ["quartic", "double well", "harmonic"]
LENGTHS = {"none": (200, 10, 120), "impulse": (200, 10, 120), "filtered": (60, 10, 50)}
"""Replicas, strides of equilibration, and strides."""


def check(averages, report, known):
    """Three sigma for all comparisons together."""
    tests = compare(averages, known)
    worst = max(tests.rows, key=lambda row: abs(row["deviate"]))
    assert abs(worst["deviate"]) < family_limit(len(tests.rows)), worst
    for name in ("balance", "exp_minus_dH"):
        assert abs(report[f"{name}_deviate"]) < family_limit(2), name
    # a test that never rejected would show nothing
    assert 0.7 < report["sigma_dH_kT"] < 2.0
    assert 0.3 < report["accepted_first"] < 0.8


@pytest.mark.parametrize("chances", [0, 3])
@pytest.mark.parametrize("corrector", LENGTHS)
@pytest.mark.parametrize("name", SMALL)
def test_means_variances_and_histograms(name, corrector, chances):
    system = SYSTEMS[name]()
    averages, report = sample(system, corrector, chances, *LENGTHS[corrector], seed=3)
    check(averages, report, system.expected)
    rescued = report["accepted"] - report["accepted_first"]
    assert rescued > 0.05 if chances else rescued == 0.0


@pytest.mark.parametrize("name", SMALL)
def test_without_the_metropolis_test_the_same_checks_fail(name):
    system = SYSTEMS[name]()
    averages, report = sample(system, "none", 0, 200, 50, 120, seed=3, metropolize=False)
    assert report == {}
    assert max(compare(averages, system.expected).deviates) > 8.0


@pytest.fixture(scope="module")
def droplets():
    """LJ13 in equilibrium by Monte Carlo, and what is known of it."""
    system = SYSTEMS["LJ13"]()
    written = json.loads(COMMITTED.read_text())["reference"]
    known = {**system.expected, **expected_from(written)}
    # histograms of so few replicas have empty bins, and no covariance
    known = {name: dataclasses.replace(e, histogram=None) for name, e in known.items()}
    return equilibrated(system, 64, 500, seed=1), known


def test_monte_carlo_keeps_the_virial_theorem_and_the_centre_of_mass(droplets):
    rows = json.loads(COMMITTED.read_text())["reference"]["exact"]
    assert {row["observable"] for row in rows} == {"virial", "centre"}
    assert max(abs(row["deviate"]) for row in rows) < family_limit(len(rows))


@pytest.mark.parametrize(
    ("corrector", "chances", "strides"),
    [
        ("none", 0, 120),
        ("none", 3, 50),
        ("impulse", 0, 100),
        ("impulse", 3, 30),
        ("filtered", 0, 10),
    ],
)
def test_lennard_jones_droplet(corrector, chances, strides, droplets):
    """Virial theorem, centre of mass, energy, distances from the centre and from each other."""
    system, known = droplets
    averages, report = sample(system, corrector, chances, 64, 5, strides, seed=4)
    check(averages, report, known)


def test_replicas_of_small_systems_start_in_equilibrium():
    for name in SMALL:
        system = SYSTEMS[name]()
        state = replicas(system, 2000, np.random.default_rng(0))
        x = state.positions.reshape(2000, 4, 3)
        averages = Averages(system.edges)
        averages.add(system.observe(x))
        known = {k: e for k, e in system.expected.items() if k != "kinetic"}
        tests = compare(averages, known)
        assert max(tests.deviates) < family_limit(len(tests.rows))
        assert (x[:, 1:] == x[:1, 1:]).all()
        assert not state.momenta.reshape(2000, 4, 3)[:, 1:].any()


def test_a_poor_start_is_forgotten():
    system = SYSTEMS["quartic"]()
    start = system.start
    poor = dataclasses.replace(system, start=lambda n, rng: 0.1 * start(n, rng))
    averages, _ = sample(poor, "impulse", 3, 200, 0, 4, seed=3)
    assert max(compare(averages, {"energy": system.expected["energy"]}).deviates) > 6.0
    averages, _ = sample(poor, "impulse", 3, 200, 150, 100, seed=3)
    tests = compare(averages, system.expected)
    assert max(tests.deviates) < family_limit(len(tests.rows))


# Surfaces


@pytest.mark.parametrize("name", SYSTEMS)
def test_forces_and_hessians_of_surfaces(name):
    system = SYSTEMS[name]()
    surface = Surface(system.physics, len(system.masses))
    state = replicas(system, 3, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    vector = torch.from_numpy(rng.standard_normal(state.positions.shape))

    def at(step):
        return surface(state.replace(positions=state.positions + step * vector))[0]

    up, down = at(1e-4), at(-1e-4)
    slope = (up.energy - down.energy) / 2e-4
    bound = surface.bind(state)
    forces = bound(state.positions, None)[0].forces
    along = -(forces * vector).reshape(3, -1).sum(1)
    torch.testing.assert_close(slope, along, rtol=1e-5, atol=1e-8)
    product = bound.linearized(state.positions)(vector[None])[0]
    difference = (down.forces - up.forces) / 2e-4
    torch.testing.assert_close(product, difference, rtol=1e-4, atol=1e-6)


def test_a_surface_evaluates_the_replicas_that_need_it():
    system = SYSTEMS["harmonic"]()
    surface = Surface(system.physics, 4)
    state = replicas(system, 5, np.random.default_rng(0))
    which = torch.tensor([True, False, True, True, False])
    (whole, _), (part, cost) = surface(state), surface(state, which=which)
    assert cost.evaluations.tolist() == [1, 0, 1, 1, 0]
    assert surface.evaluations == 8
    assert torch.equal(part.energy[which], whole.energy[which])
    assert torch.equal(part.forces[which[state.batch]], whole.forces[which[state.batch]])
    assert part.energy[~which].isnan().all()
    assert not part.failures


def test_morse_springs_are_those_of_the_library():
    atoms = hot("water")
    reference = atoms.positions - 0.02 * np.arange(9).reshape(3, 3)
    atoms.calc = MorseNetwork(reference, depth=1.9)
    surface = Surface(morse(torch.from_numpy(reference), 1.9), 3)
    evaluation = surface.evaluate(torch.from_numpy(atoms.positions), True)
    assert float(evaluation.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(evaluation.forces.numpy(), atoms.get_forces(), atol=1e-12)


# Errors from blocks


def correlated(blocks, frames, rng):
    """Standard normal in every frame, with a memory of ten frames."""
    keep = np.exp(-0.1)
    x = rng.standard_normal(blocks)
    for _ in range(frames):
        x = keep * x + np.sqrt(1.0 - keep**2) * rng.standard_normal(blocks)
        yield x


def test_deviates_and_p_values_are_what_they_say():
    """60 repetitions on correlated frames: mean squares of 1, p-values uniform."""
    rng, edges = np.random.default_rng(0), np.linspace(-1.5, 1.5, 7)
    known = {
        "x": Expected(
            Moments(0.0, 0.0, 1.0),
            Histogram(np.diff(np.concatenate([[0.0], stats.norm.cdf(edges), [1.0]]))),
        )
    }
    squares, p_values = [], []
    for _ in range(60):
        averages = Averages({"x": edges})
        for x in correlated(60, 100, rng):
            averages.add({"x": torch.from_numpy(x)[:, None]})
        mean, variance, histogram = compare(averages, known).rows
        squares.append([mean["deviate"] ** 2, variance["deviate"] ** 2])
        p_values.append(histogram["p_value"])
        assert histogram["degrees"] == 60 - 7
    # chi^2 of 120 degrees, by its normal limit
    assert abs(np.mean(squares) - 1.0) < 3.0 * np.sqrt(2.0 / 120)
    assert stats.kstest(p_values, "uniform").pvalue > 0.0027


def test_a_shifted_histogram_is_seen():
    rng, edges = np.random.default_rng(0), np.linspace(-1.5, 1.5, 7)
    fractions = np.diff(np.concatenate([[0.0], stats.norm.cdf(edges), [1.0]]))
    bins = np.digitize(rng.normal(0.1, 1.0, (200, 50)), edges)
    sampled = measured(np.stack([(bins == i).mean(1) for i in range(8)], axis=1))
    test = histogram_test(sampled, 200, Histogram(fractions))
    assert test["p_value"] < 1e-8
    # against a reference with an error as large the same difference means less
    other = histogram_test(sampled, 200, Histogram(fractions, sampled.covariance))
    assert other["chi2"] == pytest.approx(0.5 * test["chi2"])


def test_moments_of_blocks_by_hand():
    result = moments(np.array([1.0, 3.0]), np.array([2.0, 10.0]))
    # mean 2; squares about it 2 - 4 + 4 and 10 - 12 + 4
    assert (result.mean, result.mean_error) == (2.0, pytest.approx(1.0))
    assert (result.variance, result.variance_error) == (2.0, pytest.approx(0.0))


def test_largest_of_many():
    # of one deviate the mean modulus is sqrt(2 / pi)
    assert expected_largest(1) == pytest.approx(np.sqrt(2.0 / np.pi))
    draws = np.abs(np.random.default_rng(0).standard_normal((4000, 50))).max(1)
    assert expected_largest(50) == pytest.approx(draws.mean(), abs=3 * draws.std() / 4000**0.5)
    assert family_limit(1) == pytest.approx(3.0, abs=1e-3)
    rare = (draws > family_limit(50)).mean()
    assert rare == pytest.approx(0.0027, abs=3 * (0.0027 / 4000) ** 0.5)
    assert deviate(2 * stats.norm.sf(1.7)) == pytest.approx(1.7)
    # Student's t of few blocks is not as rare as it looks
    assert z_score(1.0, 0.25, 0.0, 0.0, 5) < 3.0 < z_score(1.0, 0.25, 0.0, 0.0, 10**6)
    assert z_score(0.0, 0.3, 1.0, 0.4, 10**6) == pytest.approx(-2.0, abs=1e-4)
