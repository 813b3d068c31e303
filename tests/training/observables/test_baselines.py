"""Simple predictions and errors, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kstep_training.observables.fit.coupling_baselines import linear_correction, ridge_correction
from kstep_training.observables.fit.coupling_fit import distance_weights
from kstep_training.observables.fit.errors import coupling_errors, mean_squares, spectrum_errors
from kstep_training.observables.fit.spectrum_baselines import mean_spectra, nearest_spectra
from kstep_training.observables.fit.spectrum_fit import derivatives
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.observables.samples.coupling_samples import CouplingSamples
from kstep_training.observables.samples.samples import Array
from kstep_training.observables.samples.spectrum_samples import GridSettings, spectrum_samples

RNG = np.random.default_rng(5)


def samples(count: int) -> CouplingSamples:
    """Of a law that is linear in V0 and in R."""
    cheap, separation = RNG.uniform(0.01, 0.05, count), RNG.uniform(3.0, 6.0, count)
    names = np.full(count, "a")
    columns: dict[str, Array] = {
        "cheap": cheap,
        "separation": separation,
        "angle": RNG.uniform(size=count),
        "participation": RNG.uniform(1.0, 2.0, count),
        "reference": 1.5 * cheap + 0.01 * separation - 0.02,
        "second": np.full(count, np.nan),
    }
    return CouplingSamples((None,) * count, names, names, np.arange(count), **columns)


def test_corrections_find_the_law_that_they_have() -> None:
    train, test = samples(200), samples(20)
    ridge = ridge_correction(train, test, penalty=1e-12)
    np.testing.assert_allclose(ridge, test.reference, atol=1e-9)
    linear = linear_correction(train, test)
    slope, offset = np.polyfit(train.cheap, train.reference, 1)
    np.testing.assert_allclose(linear, slope * test.cheap + offset, atol=1e-12)
    # What is the same everywhere says nothing, and is no division by zero.
    one = train.chosen([0] * 5)
    np.testing.assert_allclose(ridge_correction(one, one), one.reference, atol=1e-9)


def test_errors_of_couplings() -> None:
    found = coupling_errors([0.01, -0.01, 0.0], [0.02, -0.02, 0.0005], smallest_meV=1.0)
    assert found["mae"] == pytest.approx(20.5 / 3.0)
    assert found["mape"] == pytest.approx(50.0)
    wanted = np.array([20.0, -20.0, 0.5])
    assert found["spread"] == pytest.approx(wanted.std())
    assert found["r2"] == pytest.approx(1.0 - (200.25 / 3.0) / wanted.var())
    assert found["rmse"] == pytest.approx(math.sqrt(200.25 / 3.0))
    none = coupling_errors([0.0], [1e-6], smallest_meV=1.0)
    assert math.isnan(none["mape"])
    assert math.isnan(none["r2"])


def test_weights_of_distances() -> None:
    weights = distance_weights([3.0, 4.0, 7.0], 2.0)
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weights[1:] / weights[:-1], np.exp([0.5, 1.5]))
    np.testing.assert_array_equal(distance_weights([3.0, 4.0], 0.0), 1.0)


def test_derivatives_of_a_known_function() -> None:
    energies = torch.linspace(0.0, 6.0, 601, dtype=torch.float64)
    spectrum, first, second = derivatives(torch.sin(energies), 0.01)
    assert torch.equal(spectrum, torch.sin(energies))
    torch.testing.assert_close(first, torch.cos(energies)[1:-1], atol=2e-5, rtol=0.0)
    torch.testing.assert_close(second, -torch.sin(energies)[1:-1], atol=1e-5, rtol=0.0)
    found = mean_squares(torch.sin(energies)[None].numpy(), 0.01)
    assert found[0] == pytest.approx(float(torch.sin(energies).square().mean()))


def test_zeros_have_the_error_one(spectra: Path) -> None:
    train = spectrum_samples(read_labels(spectra).parts, GridSettings())
    units = mean_squares(train.rows, train.spacing)
    errors = spectrum_errors(0.0 * train.rows, train.rows, train.spacing, units)
    expected = {"count": len(train.rows), "mse": 1.0, "mse_first": 1.0, "mse_second": 1.0}
    assert errors == pytest.approx(expected)


def test_spectra_of_the_mean_and_of_neighbours(spectra: Path) -> None:
    every = spectrum_samples(read_labels(spectra).parts, GridSettings())
    train, test = every.chosen(range(60)), every.chosen(range(60, 72))
    mean = mean_spectra(train, test)
    np.testing.assert_allclose(mean, np.tile(train.rows.mean(0), (12, 1)))
    np.testing.assert_array_equal(nearest_spectra(train, train), train.rows)
    nearest = nearest_spectra(train, test)
    assert np.square(nearest - test.rows).mean() < np.square(mean - test.rows).mean()


@pytest.mark.parametrize("predict", [mean_spectra, nearest_spectra])
def test_an_element_without_training_spectra(predict: object, spectra: Path) -> None:
    every = spectrum_samples(read_labels(spectra).parts, GridSettings())
    other = every.chosen([0])
    graph = other.graphs[0].clone()
    graph.absorber_index = torch.tensor([1])
    hydrogen = type(other)(**{**vars(other), "graphs": (graph,)})
    with pytest.raises(ValueError, match="no absorber of atomic number 1 is in the training set"):
        predict(every, hydrogen)  # type: ignore[operator]
