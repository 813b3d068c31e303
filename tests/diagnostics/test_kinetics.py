"""Velocity autocorrelation, flips of torsions, independence of runs and cost: known answers."""

import numpy as np
import pytest
from scipy import stats

from kstep_integrators.diagnostics import (
    cost_per_ps,
    momentum_alignment,
    torsion_flips,
    torsion_wells,
    velocity_autocorrelation,
    well_changes,
)
from kstep_integrators.units import PS


def test_autocorrelation_of_an_oscillator_is_a_cosine():
    time = np.arange(4000) * 0.05
    momenta = np.zeros((4000, 1, 3))
    momenta[:, 0, 1] = 3.0 * np.sin(2.0 * time + 0.3)
    found = velocity_autocorrelation(momenta, [4.0])
    np.testing.assert_allclose(found[:500], np.cos(2.0 * time[:500]), atol=0.01)


def test_autocorrelation_weighs_by_energy():
    # Half of the velocity, four times the mass: both carry the same kinetic energy.
    time = np.arange(20000) * 0.05
    momenta = np.zeros((2, 20000, 2, 3))
    momenta[:, :, 0, 0] = np.sin(1.0 * time)
    momenta[:, :, 1, 2] = 2.0 * np.sin(5.0 * time)
    found = velocity_autocorrelation(momenta, [1.0, 4.0])[:200]
    expected = 0.5 * (np.cos(time[:200]) + np.cos(5.0 * time[:200]))
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize(
    ("momenta", "message"),
    [
        (np.ones((5, 2, 2)), "expected"),
        (np.full((5, 1, 3), np.nan), "not finite"),
        (np.zeros((5, 1, 3)), "all momenta are zero"),
    ],
)
def test_autocorrelation_refuses(momenta, message):
    with pytest.raises(ValueError, match=message):
        velocity_autocorrelation(momenta, [1.0])


def test_flips_are_counted_once():
    degrees = [60, 100, 125, 110, 65, 130, 175, -170, 179, 120, 100, 120, 178, -100, -65, -60]
    found = torsion_flips(np.radians(degrees), 1.0)
    # 60 -> 180 -> -60: looking over the barrier and coming back is no flip.
    assert found.count == 2
    assert found.nanoseconds == pytest.approx(15.0 / (1000.0 * PS))
    assert found.per_ns == pytest.approx(2.0 / found.nanoseconds)
    assert found.error_per_ns == pytest.approx(np.sqrt(2.0) / found.nanoseconds)


def test_wells_and_their_changes():
    angles = np.radians([[-60.0, -29.0, 31.0], [180.0, -151.0, 80.0]])
    np.testing.assert_array_equal(torsion_wells(angles), [[0, -1, 1], [2, 2, 1]])
    assert well_changes([[0, -1, 1], [2, 2, 1]]) == 2
    assert well_changes([[-1, -1], [0, -1]]) == 0


def test_flips_of_a_hopping_process_have_its_rate():
    rng = np.random.default_rng(0)
    hops = rng.random((20, 5000)) < 0.01
    wells = np.cumsum(np.where(hops, rng.choice([1, 2], hops.shape), 0), axis=1) % 3
    angles = np.radians(-60.0 + 120.0 * wells) + rng.normal(0.0, 0.1, wells.shape)
    found = torsion_flips(angles, 0.002 * PS)
    assert abs(found.per_ns - 5000.0) < 3.0 * found.error_per_ns
    assert torsion_flips(np.zeros(10), 1.0).count == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], 1.0), "2 frames"),
        (([0.0, np.inf], 1.0), "not finite"),
        (([0.0, 1.0], 1.0, [0.0, 1.0]), "do not touch"),
        (([0.0, 1.0], 1.0, [0.0]), "two wells"),
    ],
)
def test_flips_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        torsion_flips(*arguments)


def thermal(rng, runs, masses):
    momenta = rng.normal(size=(runs, len(masses), 3)) * np.sqrt(masses)[:, None]
    return momenta - masses[:, None] * momenta.sum(1, keepdims=True) / masses.sum()


def test_independent_runs_have_uniform_probabilities():
    rng = np.random.default_rng(1)
    masses = np.array([16.0, 1.0, 1.0, 12.0])
    values = [momentum_alignment(thermal(rng, 2, masses), masses, 9).p_value for _ in range(400)]
    assert stats.kstest(values, "uniform").pvalue > 0.01
    many = [momentum_alignment(thermal(rng, 8, masses), masses, 9).p_value for _ in range(300)]
    # Bonferroni is conservative: no more false alarms than promised.
    assert np.mean(np.array(many) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_shared_seeds_are_found():
    rng = np.random.default_rng(2)
    masses = np.array([14.0, 1.0, 1.0, 1.0])
    momenta = thermal(rng, 8, masses)
    momenta[5] = 1.1 * momenta[2]
    found = momentum_alignment(momenta, masses, 6)
    assert found.pair == (2, 5)
    assert found.cosine == pytest.approx(1.0)
    assert found.p_value < 1e-6


@pytest.mark.parametrize(
    ("momenta", "degrees", "message"),
    [
        (np.ones((1, 2, 3)), 6, "two runs"),
        (np.zeros((2, 2, 3)), 6, "zero or not finite"),
        (np.ones((2, 2, 3)), 1, "degrees is 1"),
    ],
)
def test_alignment_refuses(momenta, degrees, message):
    with pytest.raises(ValueError, match=message):
        momentum_alignment(momenta, [1.0, 2.0], degrees)


def test_cost():
    found = cost_per_ps(2.0 * PS, 1001, 3.0, 5005)
    assert found.evaluations == pytest.approx(500.5)
    assert found.seconds == pytest.approx(1.5)
    assert found.scf_cycles == pytest.approx(2502.5)
    assert cost_per_ps(PS, 1, 0.0).scf_cycles is None


@pytest.mark.parametrize(
    ("arguments", "message"), [((0.0, 1, 1.0), "time"), ((1.0, -1, 1.0), "-1")]
)
def test_cost_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        cost_per_ps(*arguments)
