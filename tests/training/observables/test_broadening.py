"""Broadened sticks: areas, widths, absorbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from kstep_training.observables.fit.fit_stages import SpectrumFitStage, SpectrumNetworkSettings
from kstep_training.observables.samples.broadening import Broadening, broaden, energy_grid
from kstep_training.observables.samples.spectrum_samples import GridSettings

GRID = energy_grid(-400.0, 400.0, 0.02)
ENERGIES = np.array([[0.0, 3.0], [1.0, 1.5]])
STRENGTHS = np.array([[0.1, 0.4], [0.0, 0.2]])


@pytest.mark.parametrize(
    ("lines", "accuracy"),
    [
        (Broadening(gaussian=0.8), 1e-12),
        (Broadening(gaussian=0.0, lorentzian=0.3), 1e-3),  # its tails are beyond the grid
        (Broadening(gaussian=0.5, lorentzian=0.3), 1e-3),
        (Broadening(gaussian=0.5, growth=0.3, edge=1.0, widest=0.9), 1e-12),
    ],
)
def test_the_area_is_the_sum_of_the_strengths(lines: Broadening, accuracy: float) -> None:
    spectra = broaden(ENERGIES, STRENGTHS, GRID, lines)
    assert spectra.shape == (2, len(GRID))
    np.testing.assert_allclose(np.trapezoid(spectra, GRID), [0.5, 0.2], rtol=accuracy)


def width(spectrum: npt.NDArray[np.float64]) -> float:
    above = GRID[spectrum >= spectrum.max() / 2.0]
    return float(above[-1] - above[0])


def test_widths_are_full_widths_at_half_maximum() -> None:
    for lines, expected in (
        (Broadening(gaussian=1.0), 1.0),
        (Broadening(gaussian=0.0, lorentzian=1.0), 1.0),
        (Broadening(gaussian=1.0, growth=0.5, edge=-2.0), 2.0),
        (Broadening(gaussian=1.0, growth=0.5, edge=-2.0, widest=1.5), 1.5),
        (Broadening(gaussian=1.0, growth=0.5, edge=0.5), 1.0),
        # doi:10.1016/0022-4073(77)90161-3
        (Broadening(gaussian=1.0, lorentzian=1.0), 0.5346 + np.sqrt(0.2166 + 1.0)),
    ):
        assert width(broaden([0.0], [1.0], GRID, lines)) == pytest.approx(expected, abs=0.04)


def test_a_gaussian_at_its_centre() -> None:
    peak = broaden([0.0], [2.0], [0.0], Broadening(gaussian=1.0))
    assert peak == pytest.approx(4.0 * np.sqrt(np.log(2.0) / np.pi), abs=1e-12)


def test_spectra_of_the_absorbers_add_up() -> None:
    shares = np.array([[[1.0, 0.0], [0.25, 0.75]], [[0.5, 0.5], [0.0, 1.0]]])
    each = broaden(ENERGIES, STRENGTHS[..., None] * shares, GRID)
    assert each.shape == (2, 2, len(GRID))
    np.testing.assert_allclose(each.sum(axis=1), broaden(ENERGIES, STRENGTHS, GRID), atol=1e-15)
    np.testing.assert_allclose(np.trapezoid(each, GRID)[0], [0.2, 0.3], rtol=1e-9)


@pytest.mark.parametrize("widths", [(0.4, 0.0), (0.0, 1.0), (0.8, 0.5)])
def test_the_smallest_deviation_is_that_of_the_narrowest_lines(widths: tuple[float, float]) -> None:
    lines = Broadening(*widths)
    fine = energy_grid(-2.0, 2.0, 0.001)
    line = broaden([0.0], [1.0], fine, lines)
    width = np.ptp(fine[line >= 0.5 * line.max()])
    assert lines.smallest_deviation == pytest.approx(width / 2.35482, rel=5e-3)


def test_gaussians_wider_than_the_lines_are_refused() -> None:
    SpectrumFitStage(grid=GridSettings(gaussian=0.6))
    with pytest.raises(ValueError, match=r"make lines of the standard deviation 0\.212 eV: wider"):
        SpectrumFitStage(grid=GridSettings(gaussian=0.5))
    with pytest.raises(ValueError, match=r"network\.widths are \[\], .* expected a width below"):
        SpectrumFitStage(network=SpectrumNetworkSettings(widths=[]))


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"gaussian": -1.0}, r"gaussian is -1\.0, expected a number from 0"),
        ({"growth": np.inf}, "growth is inf, expected a number from 0"),
        ({"edge": np.nan}, "edge is nan, expected an energy in eV"),
        ({"widest": 0.5}, r"widest is 0\.5, expected at least the width below the edge, 0\.8 eV"),
        ({"gaussian": 0.0}, "gaussian and lorentzian are both 0, expected a width of lines"),
    ],
)
def test_widths_without_sense_are_refused(widths: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Broadening(**widths)


@pytest.mark.parametrize("grid", [(1.0, 1.0, 0.1), (0.0, 1.0, 0.0), (0.0, np.nan, 0.1)])
def test_grids_without_sense_are_refused(grid: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected rising energies and a positive spacing"):
        energy_grid(*grid)
