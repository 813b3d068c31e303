"""Diagnostics against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from kstep_integrators.diagnostics import (
    bond_lengths,
    energy_drift,
    kinetic_energy,
    residual_rms,
    temperature_per_element,
)
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.units import FS, KB, PS

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
WATER_MASSES = np.array([15.999, 1.008, 1.008])
WATER_NUMBERS = np.array([8, 1, 1])


def maxwell(masses: np.ndarray, temperature: float, frames: int) -> np.ndarray:
    noise = np.random.default_rng(7).standard_normal((frames, len(masses), 3))
    return noise * np.sqrt(KB * temperature * masses)[:, None]


def without_net_motion(momenta: np.ndarray, masses: np.ndarray, positions: np.ndarray | None):
    velocities = momenta / masses[:, None]
    velocities -= (momenta.sum(axis=1) / masses.sum())[:, None, :]
    if positions is not None:
        r = positions - masses @ positions / masses.sum()
        inertia = sum(
            m * (np.dot(x, x) * np.eye(3) - np.outer(x, x)) for m, x in zip(masses, r, strict=True)
        )
        spin = np.cross(r, velocities * masses[:, None]).sum(axis=1)
        omega = spin @ np.linalg.pinv(inertia, rcond=1e-6)
        velocities -= np.cross(omega[:, None, :], r)
    return velocities * masses[:, None]


def test_line_plus_oscillation() -> None:
    time = np.arange(20_000) * 0.5 * FS
    # 0.5 meV/atom/ps on 9 atoms; a sine of amplitude sqrt(2) has an rms of 1.
    energy = -300.0 + 9e-3 * (
        0.5 * time / PS + 0.2 * np.sqrt(2.0) * np.sin(2.0 * np.pi * time / (25.0 * FS))
    )
    found = energy_drift(time, energy, n_atoms=9)
    assert found.drift == pytest.approx(0.5, abs=2e-3)
    assert found.fluctuation == pytest.approx(0.2, rel=1e-3)


def test_drift_is_signed_and_blind_to_origin() -> None:
    time = np.linspace(0.0, 2.0 * PS, 11)
    for origin in (0.0, 1000.0 * PS):
        found = energy_drift(time + origin, 1e4 - 3e-3 * time / PS, n_atoms=3)
        assert found.drift == pytest.approx(-1.0, rel=1e-6)
        assert found.fluctuation == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("time", "energy", "message"),
    [
        ([0.0, 1.0], [0.0, 1.0], "at least 3 frames"),
        ([0.0, 1.0, 2.0], [0.0, 1.0], "same length"),
        ([0.0, 1.0, 2.0], [0.0, np.nan, 1.0], "frame 1 of 3"),
        ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0], "same time"),
    ],
)
def test_drift_refuses(time: list[float], energy: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        energy_drift(time, energy, n_atoms=2)


def test_kinetic_energy_by_hand() -> None:
    momenta = np.array([[[1.0, 2.0, 2.0], [0.0, 0.0, 4.0]]])
    assert kinetic_energy(momenta, [3.0, 2.0]) == pytest.approx([9.0 / 6.0 + 16.0 / 4.0])


def test_temperature_of_free_atoms() -> None:
    masses = np.array([12.011, 1.008, 15.999])
    frames = 20_000
    found = temperature_per_element(
        maxwell(masses, 300.0, frames), masses, [6, 1, 8], np.full(3, 3.0)
    )
    sigma = 300.0 * np.sqrt(2.0 / (3 * frames))
    assert list(found) == ["H", "C", "O"]
    for value in found.values():
        assert abs(value - 300.0) < 3.0 * sigma


@pytest.mark.parametrize("rotation", [False, True])
def test_temperature_with_conserved_momenta(rotation: bool) -> None:
    positions = WATER if rotation else None
    frames = 20_000
    momenta = without_net_motion(maxwell(WATER_MASSES, 300.0, frames), WATER_MASSES, positions)
    share = atomic_degrees_of_freedom(
        WATER_MASSES, momentum_conserved=True, angular_momentum_positions=positions
    )
    found = temperature_per_element(momenta, WATER_MASSES, WATER_NUMBERS, share)
    for symbol, number in (("O", 8), ("H", 1)):
        # An atom's share is a sum of unequal variances; its widest case is a single one of them.
        freedom = share[number == WATER_NUMBERS].sum()
        sigma = 300.0 * np.sqrt(2.0 / (frames * min(freedom, 1.0)))
        assert abs(found[symbol] - 300.0) < 3.0 * sigma
    # The naive share of three for each atom is far off for oxygen, which the test must see.
    naive = temperature_per_element(momenta, WATER_MASSES, WATER_NUMBERS, np.full(3, 3.0))
    assert naive["O"] < 60.0


def test_fixed_atoms_have_no_temperature() -> None:
    momenta = np.zeros((4, 2, 3))
    momenta[:, 1] = 0.3
    found = temperature_per_element(momenta, [12.0, 1.0], [6, 1], [0.0, 3.0])
    assert found == pytest.approx({"H": 0.09 / KB})


def test_temperature_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"expected \(F, N, 3\)"):
        temperature_per_element(np.zeros((2, 3)), np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="atomic_degrees_of_freedom gives them"):
        temperature_per_element(np.zeros((5, 2, 3)), np.ones(2), np.ones(2), 3.0)


def test_bond_lengths_by_hand() -> None:
    positions = np.array([[[0, 0, 0], [3, 4, 0], [0, 0, 2]], [[0, 0, 0], [0, 1, 0], [0, 1, 1]]])
    assert bond_lengths(positions, [[0, 1], [0, 2]]) == pytest.approx(
        np.array([[5.0, 2.0], [1.0, np.sqrt(2.0)]])
    )
    assert bond_lengths(positions, np.empty((0, 2))).shape == (2, 0)


def test_residual_by_hand() -> None:
    physics = np.zeros((2, 3))
    potential = np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    assert residual_rms(physics, potential) == pytest.approx(np.sqrt(18.0 / 6.0))
    with pytest.raises(ValueError, match="same shape"):
        residual_rms(physics, np.zeros((1, 3)))
