"""Unwrapping, drift and mean-square displacements: by hand, by brute force, of known motions."""

import numpy as np
import pytest
from ase.geometry import wrap_positions

from kstep_integrators.diagnostics import (
    mean_square_displacement,
    remove_drift,
    unwrap_positions,
)

SKEWED = np.array([[6.0, 0.0, 0.0], [2.4, 5.0, 0.0], [-1.2, 0.8, 7.0]])


@pytest.mark.parametrize(
    "pbc", [(True, True, True), (True, True, False), (False, True, False), (False, False, False)]
)
def test_unwrapping_undoes_wrapping(pbc):
    rng = np.random.default_rng(0)
    free = np.cumsum(rng.normal(0.0, 0.4, (300, 6, 3)), axis=0)
    wrapped = np.array([wrap_positions(frame, SKEWED, pbc) for frame in free])
    start = wrapped[0] - free[0]
    np.testing.assert_allclose(unwrap_positions(wrapped, SKEWED, pbc) - start, free, atol=1e-10)
    np.testing.assert_allclose(unwrap_positions(free, SKEWED, pbc), free, atol=1e-10)


def test_unwrapping_in_a_slab_without_a_third_vector():
    slab = SKEWED * [[1], [1], [0]]
    free = np.cumsum(np.random.default_rng(0).normal(0.0, 0.4, (50, 6, 3)), axis=0)
    wrapped = free - np.rint(free @ np.linalg.pinv(slab)) @ slab
    found = unwrap_positions(wrapped, slab, (True, True, False))
    np.testing.assert_allclose(found - found[0], free - free[0], atol=1e-10)


def test_unwrapping_in_a_cell_that_changes():
    # An atom at rest far from the origin, beside one that crosses the border of a cell that grows.
    cells = [length * np.eye(3) for length in (10.0, 11.0, 12.0)]
    wrapped = np.zeros((3, 2, 3))
    wrapped[:, 0, 0] = (9.0, 0.5, 2.0)  # 9.0 -> 11.5 is 0.5 in the cell of 11
    wrapped[:, 1, 0] = 5.0
    found = unwrap_positions(wrapped, cells)
    np.testing.assert_allclose(found[:, 0, 0], [9.0, 11.5, 13.0])
    np.testing.assert_allclose(found[:, 1, 0], 5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 3)), np.eye(3)), "have shapes"),
        ((np.zeros((3, 1, 3)), np.ones((2, 3, 3))), "have shapes"),
        ((np.zeros((3, 1, 3)), np.diag([1.0, 1.0, 0.0])), "a cell vector of its own"),
        (([[[0.0, 0.0, 0.0]], [[0.0, 4.2, 0.0]]], 10.0 * np.eye(3)),
         "atom 0 moves by 0.42 of cell vector 1 between frames 0 and 1"),
        (([[[0.0, 0.0, 0.0]], [[0.0, np.nan, 0.0]]], 10.0 * np.eye(3)), "not finite"),
    ],
)  # fmt: skip
def test_unwrapping_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        unwrap_positions(*arguments)


def test_drift_is_that_of_the_centre_of_mass():
    rng = np.random.default_rng(0)
    masses = np.array([1.0, 16.0, 4.0])
    x = rng.normal(size=(2, 10, 3, 3))
    still = remove_drift(x, masses)
    centre = np.einsum("n,rfnc->rfc", masses, still) / masses.sum()
    np.testing.assert_allclose(centre, np.broadcast_to(centre[:, :1], centre.shape), atol=1e-12)
    np.testing.assert_allclose(still[:, 0], x[:, 0])
    np.testing.assert_allclose(still[..., 0, :] - still[..., 1, :], x[..., 0, :] - x[..., 1, :])
    with pytest.raises(ValueError, match="positions and masses have shapes"):
        remove_drift(x, masses[:2])


def test_ballistic_motion_of_several_runs():
    velocities = np.random.default_rng(0).normal(size=(2, 1, 5, 3))
    x = 1e4 + velocities * np.arange(50.0)[:, None, None]  # far from the origin
    expected = np.mean((velocities**2).sum(-1)) * np.arange(50.0) ** 2
    np.testing.assert_allclose(mean_square_displacement(x), expected, rtol=1e-7)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), (2,)])
def test_the_fast_algorithm_against_the_definition(axes):
    x = np.cumsum(np.random.default_rng(0).normal(size=(37, 4, 3)), axis=0)
    expected = [0.0] + [
        np.mean(((x[lag:] - x[:-lag])[..., list(axes)] ** 2).sum(-1)) for lag in range(1, 37)
    ]
    np.testing.assert_allclose(mean_square_displacement(x, axes), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("positions", "axes", "message"),
    [
        (np.zeros((3, 3)), (0, 1, 2), "positions have shape"),
        (np.zeros((3, 1, 3)), (), "axes are"),
        (np.zeros((3, 1, 3)), (0, 3), "axes are"),
        (np.zeros((3, 1, 3)), (0, 0), "each once"),
        (np.full((3, 1, 3), np.nan), (0,), "positions are not finite"),
    ],
)
def test_displacement_refuses(positions, axes, message):
    with pytest.raises(ValueError, match=message):
        mean_square_displacement(positions, axes)
