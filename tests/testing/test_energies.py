"""Thermostats and correctors by physical_validation: kinetic energies, and two temperatures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kstep_integrators import units
from kstep_integrators.testing.baths import MORSE_RUNS, morse_water
from kstep_integrators.testing.energies import (
    Samples,
    ensemble_check,
    kinetic_checks,
    npt_checks,
    suggested_temperature,
)

SMALLER = {"replicas": 300, "frames": 3, "equilibration": 60, "every": 30}


def passed(samples):
    """Strict and non-strict, at three sigma."""
    checks = kinetic_checks(samples)
    assert checks["strict_p_value"] > 0.0027
    assert checks["mean_sigma"] < 3.0
    assert checks["width_sigma"] < 3.0


@pytest.mark.parametrize(
    "name",
    [
        "langevin-impulse",
        "langevin-filtered",
        "langevin-none",
        "bussi-impulse",
        "bussi-none-metropolized",
    ],
)
def test_kinetic_energies_and_ensembles(name):
    run = MORSE_RUNS[name]
    strides = {"every": 5, "equilibration": 12} if run.metropolize else {}
    run = dataclasses.replace(run, **{**SMALLER, **strides})
    cold, how = morse_water(run, 300.0, seed=1)
    hot, _ = morse_water(run, 600.0, seed=2)
    assert cold.degrees == (9 if run.thermostat == "langevin" else 3)
    assert how["fallbacks"] == 0
    for samples in (cold, hot):
        passed(samples)
    # without correction or test, the ensemble is that of the potential
    inner = run.corrector == "none" and not run.metropolize
    for total in (False, True):
        assert ensemble_check(cold, hot, total=total, inner=inner) < 3.0


def test_weak_coupling_fails():
    run = dataclasses.replace(MORSE_RUNS["berendsen-impulse"], **SMALLER)
    checks = kinetic_checks(morse_water(run, 300.0, seed=1)[0])
    assert checks["width_sigma"] > 5.0
    assert checks["strict_p_value"] < 1e-6


def drawn(temperature, scale=1.0, seed=0):
    """Independent energies of water: nine momenta, three springs."""
    rng, kt = np.random.default_rng(seed), scale * units.KB * temperature
    shape = (10, 400)
    potential = kt * rng.standard_gamma(1.5, shape)
    kinetic = kt * rng.standard_gamma(4.5, shape)
    return Samples(temperature, 3, 9, kinetic, potential, potential)


def test_checks_of_energies_drawn_from_their_law():
    cold = drawn(300.0)
    passed(cold)
    assert cold.correlation < 0.05
    # two standard deviations of sqrt(1.5) kT
    assert suggested_temperature(cold) == pytest.approx(300.0 * (1 + 2 / 1.5**0.5), abs=20.0)
    assert ensemble_check(cold, drawn(600.0, seed=1)) < 3.0
    assert ensemble_check(cold, drawn(600.0, seed=1), total=True) < 3.0


def test_energies_of_another_temperature_are_seen():
    wrong = drawn(300.0, scale=1.06)
    checks = kinetic_checks(wrong)
    assert checks["strict_p_value"] < 0.0027
    assert checks["mean_sigma"] > 5.0
    # the slope of ln P1/P2 tells less, for three degrees of freedom
    assert ensemble_check(drawn(300.0), drawn(600.0, scale=1.4, seed=1)) > 3.0


def ideal_gas(temperature, pressure, wrong=1.0, seed=0):
    """Volumes and energies of ten molecules on springs, from their law at P and T."""
    rng, kt, count = np.random.default_rng(seed), units.KB * temperature, 10
    volume = rng.gamma(count + 1, kt / (wrong * pressure), (2000, 1))
    potential = kt * rng.standard_gamma(1.5 * count, volume.shape)
    kinetic = kt * rng.standard_gamma(1.5 * count, volume.shape)
    return Samples(temperature, count, 3 * count, kinetic, potential, potential, volume, pressure)


@pytest.mark.parametrize(
    ("hot", "high", "count"), [(330.0, 1.0, 1), (300.0, 1.5, 1), (330.0, 1.3, 2)]
)
def test_isobaric_ensembles(hot, high, count):
    """By enthalpy, by volume, by both; and seen if the pressure is another than it is said."""
    pressure = 100 * units.BAR
    one, other = ideal_gas(300.0, pressure), ideal_gas(hot, high * pressure, seed=1)
    sigma = npt_checks(one, other)
    assert len(sigma) == count
    assert max(sigma) < 3.0
    assert max(npt_checks(one, other, off=1.25)) > 3.0
    if high > 1.0:
        wrong = ideal_gas(hot, high * pressure, wrong=1.2, seed=1)
        assert max(npt_checks(one, wrong)) > 3.0


def test_isobaric_checks_need_volumes():
    one = ideal_gas(300.0, 100 * units.BAR)
    with pytest.raises(ValueError, match=r"samples at 300\.0 K have no volume or no pressure"):
        npt_checks(one, dataclasses.replace(one, volume=None))
    columns = ("kinetic", "potential", "inner", "volume")
    slow = {name: np.repeat(getattr(one, name), 5, axis=0) for name in columns}
    chain = dataclasses.replace(one, **slow)
    assert kinetic_checks(chain, correlated=True)["strict_p_value"] > 0.0027


def test_frames_that_remember_each_other_are_seen():
    samples = drawn(300.0)
    slow = np.repeat(samples.potential[:5], 2, axis=0)
    assert dataclasses.replace(samples, potential=slow).correlation > 0.3
