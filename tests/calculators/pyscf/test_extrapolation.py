"""Guessing densities: exact where it must be, and better than the last density along a path."""

import numpy as np
import pytest
from pyscf import gto

from kstep_integrators.calculators.pyscf.density import Overlap, from_lowdin, to_lowdin
from kstep_integrators.calculators.pyscf.extrapolation import (
    Entry,
    History,
    aspc_weights,
    kernel_weights,
)


def path(times):
    """A water-like molecule that vibrates and turns: smooth, curved, far from linear."""
    times = np.asarray(times, dtype=float)[:, None]
    still = np.array([0.0, 0.0, 0.1, 0.0, 0.8, -0.5, 0.0, -0.8, -0.5])
    a, b, c = np.random.default_rng(0).normal(size=(3, 9))
    wave = 0.1 * a * np.sin(times) + 0.1 * b * np.cos(1.7 * times) + 0.05 * c * np.sin(0.4 * times)
    return (still + wave).reshape(-1, 3, 3)


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_weights_add_up_to_one_and_reproduce_known_geometries(count):
    known = path(np.arange(count))
    assert kernel_weights(known, path([count])[0]).sum() == pytest.approx(1.0, abs=1e-9)
    for i in range(count):
        np.testing.assert_allclose(kernel_weights(known, known[i]), np.eye(count)[i], atol=1e-5)


def test_a_linear_function_on_a_line_is_extrapolated():
    steps = np.array([0.0, 0.3, 1.0, 1.1])[:, None, None]  # unequal
    known = steps * np.ones((1, 3, 3)) * 0.05
    weights = kernel_weights(known, 1.9 * np.ones((3, 3)) * 0.05)
    assert weights @ steps[:, 0, 0] == pytest.approx(1.9, abs=2e-4)


@pytest.mark.parametrize("shuffled", [False, True])
def test_error_falls_with_every_earlier_geometry(shuffled):
    """A smooth function of the geometry, at one step beyond eight known ones."""

    def function(x):
        return np.sin(x.ravel()[:4]).sum() + x.ravel()[0] * x.ravel()[5]

    positions = path(0.1 * np.arange(9))
    order = np.random.default_rng(1).permutation(8) if shuffled else np.arange(8)
    errors = []
    for count in (1, 2, 4, 8):
        known = positions[8 - count : 8][order[order < count]]
        weights = kernel_weights(known, positions[8])
        predicted = weights @ np.array([function(x) for x in known])
        errors.append(abs(predicted - function(positions[8])))
    assert errors[0] > 10 * errors[1] > 20 * errors[2]
    assert errors[3] < 1e-3 * errors[0]


def test_a_geometry_kept_twice_does_no_harm():
    known = path([0.0, 0.1, 0.1, 0.2])
    weights = kernel_weights(known, path([0.3])[0])
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(weights).max() < 100


def test_aspc_coefficients_are_those_of_the_paper():
    """Kolafa 2004, table I: k = 0 and k = 1, newest first 2, -1 and 5/2, -2, 1/2."""
    np.testing.assert_allclose(aspc_weights(2)[::-1], [2.0, -1.0])
    np.testing.assert_allclose(aspc_weights(3)[::-1], [2.5, -2.0, 0.5])
    np.testing.assert_allclose(aspc_weights(4)[::-1], [2.8, -2.8, 1.2, -0.2])
    np.testing.assert_allclose(aspc_weights(1), [1.0])


def converged(positions, spin=0):
    molecule = gto.M(
        atom=list(zip("OHH", positions.tolist(), strict=True)),
        basis="6-31g", spin=spin, charge=spin, verbose=0,
    )  # fmt: skip
    mean_field = molecule.UHF() if spin else molecule.RHF()
    mean_field.chkfile = None
    mean_field.kernel()
    return mean_field


@pytest.mark.parametrize("spin", [0, 1])
def test_extrapolated_densities_have_the_right_electrons_and_beat_the_last(spin):
    positions = path(0.03 * np.arange(8))
    histories = {guess: History(guess) for guess in ("extrapolate", "aspc", "last", "atomic")}
    for x in positions[:-1]:
        solved = converged(x, spin)
        overlap = Overlap(solved.get_ovlp())
        filled = np.sort(solved.mo_occ, axis=-1)
        entry = Entry(x, to_lowdin(solved.make_rdm1(), overlap), filled)
        for history in histories.values():
            history.put(x.tobytes(), entry)
    solved = converged(positions[-1], spin)
    exact, s = np.asarray(solved.make_rdm1()), solved.get_ovlp()
    errors = {}
    for guess, history in histories.items():
        predicted = history.predict(positions[-1], Overlap(s))
        if guess == "atomic":
            assert predicted is None
            continue
        errors[guess] = np.linalg.norm(predicted - exact)
        electrons = np.einsum("...ij,ji->...", predicted, s)
        np.testing.assert_allclose(electrons, np.einsum("...ij,ji->...", exact, s), atol=1e-9)
        half = predicted if spin else predicted / 2.0
        np.testing.assert_allclose(half @ s @ half, half, atol=1e-9)  # idempotent
    assert errors["extrapolate"] < 0.1 * errors["aspc"] < 0.1 * errors["last"]


def test_the_history_is_bounded_and_can_be_cleared():
    history = History(size=3)
    entry = Entry(np.zeros((1, 3)), np.eye(2), np.ones(2))
    for i in range(10):
        history.put(i, entry)
    assert len(history) == 3
    history.put(9, entry)
    assert len(history) == 3
    history.clear()
    assert history.predict(np.zeros((1, 3)), Overlap(np.eye(2))) is None


def test_lowdin_round_trip_for_k_points():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(2, 5, 5)) + 1j * rng.normal(size=(2, 5, 5))
    overlap = Overlap(np.eye(5) + 0.1 * raw @ raw.conj().swapaxes(-1, -2))
    values, vectors = np.linalg.eigh(raw + raw.conj().swapaxes(-1, -2))
    orbitals = overlap.inverse_root @ vectors
    filled = np.broadcast_to([0.0, 0.0, 0.0, 2.0, 2.0], values.shape)
    density = (orbitals * filled[:, None]) @ orbitals.conj().swapaxes(-1, -2)
    again = from_lowdin(to_lowdin(density, overlap), filled, overlap)
    np.testing.assert_allclose(again, density, atol=1e-10)
