"""Spectra of harmonic motion, whose frequencies are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kstep_integrators.diagnostics import (
    Spectrum,
    peak_shift,
    spectral_overlap,
    spectral_peaks,
    vibrational_density,
)
from kstep_integrators.units import FS, INVERSE_CM

MASSES = np.array([12.011, 1.008])
LINES = np.array([[400.0, 1100.0, 1600.0], [1350.0, 2900.0, 3600.0]])
"""cm^-1, one for each coordinate of two atoms."""


def harmonic(
    lines: np.ndarray = LINES, interval: float = 2 * FS, picoseconds: float = 10.0, seed: int = 0
) -> np.ndarray:
    """Momenta of oscillators of equal energy and random phase."""
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, lines.shape)
    t = interval * np.arange(round(1000 * picoseconds * FS / interval))
    angle = 2.0 * np.pi * INVERSE_CM * lines * t[:, None, None] + phases
    return np.sqrt(MASSES)[:, None] * np.cos(angle)


def verlet(line: float, step: float, interval: float, picoseconds: float) -> np.ndarray:
    """Momenta of velocity Verlet for one oscillator of mass 1 along x."""
    w2 = (2.0 * np.pi * INVERSE_CM * line) ** 2
    x, p, kept = 1.0, 0.0, []
    for number in range(round(1000 * picoseconds * FS / step)):
        if number % round(interval / step) == 0:
            kept.append(p)
        p -= 0.5 * step * w2 * x
        x += step * p
        p -= 0.5 * step * w2 * x
    return np.array(kept)[:, None, None] * np.array([1.0, 0.0, 0.0])


def test_lines_are_where_they_belong_and_equally_strong() -> None:
    spectrum = vibrational_density(harmonic(), MASSES, 2 * FS)
    assert spectrum.density.sum() * spectrum.spacing == pytest.approx(1.0)
    assert spectrum.wavenumbers[-1] == pytest.approx(8339.1, abs=0.1)
    assert spectral_peaks(spectrum) == pytest.approx(np.sort(LINES.ravel()), abs=0.3)
    # Equal energies: the masses of the atoms must not show.
    for line in LINES.ravel():
        near = np.abs(spectrum.wavenumbers - line) < 60.0
        area = spectrum.density[near].sum() * spectrum.spacing
        assert area == pytest.approx(1.0 / LINES.size, rel=0.01)


def test_fast_lines_are_folded_back() -> None:
    spectrum = vibrational_density(harmonic(interval=8 * FS), MASSES, 8 * FS)
    assert spectrum.wavenumbers[-1] == pytest.approx(2084.8, abs=0.1)
    sampling = 1.0 / (8 * FS * INVERSE_CM)
    expected = np.minimum(LINES, np.abs(sampling - LINES)).ravel()
    assert spectral_peaks(spectrum) == pytest.approx(np.sort(expected), abs=0.3)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_frequency_error_of_verlet(step: float) -> None:
    line, interval = 3000.0, 2 * FS
    exact = vibrational_density(verlet(line, FS / 32, interval, 5.0), [1.0], interval)
    found = peak_shift(
        exact,
        vibrational_density(verlet(line, step * FS, interval, 5.0), [1.0], interval),
        2500.0,
        3500.0,
    )
    phase = 2.0 * np.pi * INVERSE_CM * line * step * FS
    assert found == pytest.approx(line * (2.0 * np.arcsin(phase / 2.0) / phase - 1.0), abs=0.3)
    if step < 2.0:
        assert found == pytest.approx(line * phase**2 / 24.0, rel=0.06)


def test_a_band_is_shifted_and_no_other() -> None:
    moved = np.where(LINES > 2500.0, LINES - 33.3, LINES)
    # Other phases, and twice the energy of one line: neither is a shift.
    uneven = np.array([[1.0, 1.4, 1.0], [1.0, 1.0, 1.4]])
    reference = vibrational_density(harmonic(), MASSES, 2 * FS)
    spectrum = vibrational_density(uneven * harmonic(moved, seed=1), MASSES, 2 * FS)
    assert peak_shift(reference, spectrum, 2500.0, 4000.0) == pytest.approx(-33.3, abs=0.5)
    assert peak_shift(reference, spectrum, 200.0, 2000.0) == pytest.approx(0.0, abs=0.3)
    assert peak_shift(spectrum, reference, 2500.0, 4000.0) == pytest.approx(33.3, abs=0.5)
    assert peak_shift(reference, reference, 0.0, 4000.0) == pytest.approx(0.0, abs=1e-9)


def test_a_stronger_line_beside_the_band_draws_nothing() -> None:
    lines = np.array([[400.0, 470.0, 560.0]])
    momenta = harmonic(lines) * np.array([1.0, 1.0, 5.0])
    spectrum = vibrational_density(momenta, MASSES, 2 * FS)
    assert peak_shift(spectrum, spectrum, 350.0, 500.0) == pytest.approx(0.0, abs=0.1)


def test_overlap() -> None:
    reference = vibrational_density(harmonic(), MASSES, 2 * FS)
    assert spectral_overlap(reference, reference) == pytest.approx(1.0)
    other = LINES.copy()
    other[0, 0] = 700.0
    spectrum = vibrational_density(harmonic(other, seed=1), MASSES, 2 * FS)
    assert spectral_overlap(reference, spectrum) == pytest.approx(5.0 / 6.0, abs=0.01)


@pytest.mark.parametrize(
    ("momenta", "masses", "interval", "resolution", "message"),
    [
        (np.ones((100, 3)), np.ones(3), 1.0, 10.0, r"expected \(F, N, 3\)"),
        (np.ones((100, 2, 3)), np.ones(3), 1.0, 10.0, r"expected \(F, N, 3\)"),
        (np.ones((100, 2, 3)), np.ones(2), 0.0, 10.0, "must be positive"),
        (np.ones((100, 2, 3)), np.ones(2), 1.0, -1.0, "must be positive"),
        (np.full((9999, 2, 3), np.nan), np.ones(2), 1.0, 10.0, "frame 0 are not finite"),
        (np.ones((100, 2, 3)), np.ones(2), 2 * FS, 10.0, "the run allows 166.8 cm"),
        (np.zeros((9999, 2, 3)), np.ones(2), 2 * FS, 10.0, "nothing vibrates"),
    ],
)
def test_density_refuses(
    momenta: np.ndarray, masses: np.ndarray, interval: float, resolution: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        vibrational_density(momenta, masses, interval, resolution)


def test_shift_refuses() -> None:
    reference = vibrational_density(harmonic(), MASSES, 2 * FS)
    coarse = vibrational_density(harmonic(), MASSES, 2 * FS, 20.0)
    for function in (lambda: spectral_overlap(reference, coarse), lambda: shift(reference, coarse)):
        with pytest.raises(ValueError, match="different wavenumbers"):
            function()
    with pytest.raises(ValueError, match="no wavenumber between"):
        peak_shift(reference, reference, 9000.0, 9500.0)
    with pytest.raises(ValueError, match="below the spacing"):
        peak_shift(reference, reference, 1000.0, 2000.0, limit=0.1)
    empty = Spectrum(reference.wavenumbers, np.zeros_like(reference.density))
    with pytest.raises(ValueError, match="no density between"):
        shift(empty, reference)
    with pytest.raises(ValueError, match="no density between"):
        shift(reference, empty)
    far = vibrational_density(harmonic(LINES + 40.0), MASSES, 2 * FS)
    with pytest.raises(ValueError, match="raise the limit"):
        peak_shift(reference, far, 2500.0, 4000.0, limit=25.0)


def shift(reference: Spectrum, spectrum: Spectrum) -> float:
    return peak_shift(reference, spectrum, 1000.0, 2000.0)


def test_modes_of_a_periodic_chain_and_their_number():
    """Eight atoms on springs in a ring: 2 sqrt(k/m) sin(q/2) along one axis, and equipartition."""
    size, mass, spring = 8, 39.9, 2.0
    i, j = np.meshgrid(np.arange(size), np.arange(size))
    near = ((i - j) % size == 1) | ((j - i) % size == 1)
    frequencies, modes = np.linalg.eigh(spring / mass * (2.0 * np.eye(size) - near))
    frequencies = np.sqrt(np.maximum(frequencies, 0.0))[1:]  # without that of the whole chain
    phases = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, size - 1)
    time = np.arange(20_000) * 5.0 * FS
    velocities = np.cos(time[:, None] * frequencies + phases) @ modes[:, 1:].T
    momenta = np.zeros((len(time), size, 3))
    momenta[:, :, 2] = mass * velocities
    spectrum = vibrational_density(momenta, np.full(size, mass), 5.0 * FS, resolution=2.0)
    known = np.unique(
        np.round(2.0 * np.sqrt(spring / mass) * np.sin(np.pi * np.arange(1, 5) / size), 9)
    )
    expected = known / (2.0 * np.pi * INVERSE_CM)
    assert spectral_peaks(spectrum) == pytest.approx(expected, abs=0.2)
    # Times the degrees of freedom (7 of 8: the whole chain is at rest), modes under each peak.
    edges = [0.0, *(0.5 * (expected[1:] + expected[:-1])), 1e4]
    counts = [
        7 * spectrum.spacing
        * spectrum.density[(spectrum.wavenumbers >= a) & (spectrum.wavenumbers < b)].sum()
        for a, b in itertools.pairwise(edges)
    ]  # fmt: skip
    assert counts == pytest.approx([2.0, 2.0, 2.0, 1.0], abs=0.02)
