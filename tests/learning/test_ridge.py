"""Rows learned one after another are the ridge regression on all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kstep_integrators.learning.ridge import Posterior, prior, update

ROWS, WEIGHTS = 40, 12


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    design = torch.from_numpy(rng.normal(size=(ROWS, WEIGHTS)))
    design[:, 3] = design[:, 2]  # two weights that the rows cannot tell apart
    targets = torch.from_numpy(rng.normal(size=ROWS))
    noise = torch.from_numpy(rng.uniform(0.01, 0.5, ROWS))
    variance = torch.from_numpy(rng.uniform(0.1, 30.0, WEIGHTS))
    return design, targets, noise, variance


def closed_form(design, targets, noise, variance):
    """(X^T R^-1 X + V^-1)^-1 and this times X^T R^-1 y."""
    precision = design.T @ (design / noise[:, None]) + torch.diag(1.0 / variance)
    covariance = torch.linalg.inv(precision)
    return Posterior(covariance @ (design.T @ (targets / noise)), covariance)


def learned(rows, parts):
    design, targets, noise, variance = rows
    posterior = prior(variance)
    for part in parts:
        posterior, _ = update(posterior, design[part], targets[part], noise[part])
    return posterior


def same(one, other, tolerance=1e-10):
    torch.testing.assert_close(one.mean, other.mean, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=0, atol=tolerance)


@pytest.mark.parametrize("block", [1, 7, ROWS])
def test_blocks_of_any_length_give_the_closed_form(rows, block):
    found = learned(rows, torch.arange(ROWS).split(block))
    same(found, closed_form(*rows))
    assert torch.equal(found.covariance, found.covariance.T)


def test_the_order_does_not_matter(rows):
    order = torch.from_numpy(np.random.default_rng(1).permutation(ROWS))
    same(learned(rows, order.split(3)), learned(rows, torch.arange(ROWS).split(5)))


def test_rows_are_predicted_from_those_before_them(rows):
    design, targets, noise, variance = rows
    before = closed_form(design[:30], targets[:30], noise[:30], variance)
    _, told = update(before, design[30:], targets[30:], noise[30:])
    torch.testing.assert_close(told.error, targets[30:] - design[30:] @ before.mean)
    spread = torch.einsum("ni,ij,nj->n", design[30:], before.covariance, design[30:])
    torch.testing.assert_close(told.variance, spread, rtol=0, atol=1e-12)


def test_the_variance_is_that_of_what_is_predicted():
    """Weights drawn from the prior: errors over their standard deviations have a variance of 1."""
    rng, squares = np.random.default_rng(2), []
    for _ in range(300):
        design = torch.from_numpy(rng.normal(size=(9, 5)))
        variance = torch.full((5,), 2.0, dtype=torch.float64)
        weights = torch.from_numpy(rng.normal(0.0, np.sqrt(2.0), 5))
        noise = torch.full((9,), 0.3, dtype=torch.float64)
        targets = design @ weights + torch.from_numpy(rng.normal(0.0, np.sqrt(0.3), 9))
        posterior, _ = update(prior(variance), design[:8], targets[:8], noise[:8])
        _, told = update(posterior, design[8:], targets[8:], noise[8:])
        squares.append(float(told.error**2 / (told.variance + 0.3)))
    # chi^2 of one degree: variance 2
    assert abs(np.mean(squares) - 1.0) < 3.0 * np.sqrt(2.0 / len(squares))


def test_many_updates_stay_sound():
    """3000 rows one by one: symmetric, positive, and still the closed form."""
    rng = np.random.default_rng(3)
    design = torch.from_numpy(rng.normal(size=(3000, WEIGHTS)) * np.logspace(0, -4, WEIGHTS))
    targets = torch.from_numpy(rng.normal(size=3000))
    noise, variance = torch.full((3000,), 0.3).double(), torch.full((WEIGHTS,), 1.0).double()
    rows = (design, targets, noise, variance)
    found = learned(rows, torch.arange(3000).split(1))
    same(found, closed_form(*rows))
    assert float(torch.linalg.eigvalsh(found.covariance).min()) > 0.0


def test_noise_has_to_be_positive(rows):
    design, targets, noise, variance = rows
    with pytest.raises(torch.linalg.LinAlgError):
        update(prior(variance), design, targets, -100.0 * noise)
