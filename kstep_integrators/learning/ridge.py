"""Bayesian linear regression, brought up to date by the rows of each label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import GLOBAL, scoped

__all__ = ["Posterior", "Prediction", "prior", "update"]


@dataclass(frozen=True)
class Posterior:
    r"""Weights as all rows so far leave them likely: Gaussian.

    Attributes
    ----------
    mean : (P,) float64
    covariance : (P, P) float64
    """

    mean: Tensor = scoped(GLOBAL)
    covariance: Tensor = scoped(GLOBAL)


@dataclass(frozen=True)
class Prediction:
    """Rows as they were expected before they were learned.

    Attributes
    ----------
    error : (n,) float64
        Target minus what was predicted.
    variance : (n,) float64
        Of what was predicted, the noise of the row left out.
    """

    error: Tensor
    variance: Tensor


def prior(variance: Tensor) -> Posterior:
    """Weights before any row: mean zero, and a variance (P,) each."""
    return Posterior(torch.zeros_like(variance), torch.diag(variance))


def update(
    posterior: Posterior, design: Tensor, targets: Tensor, noise: Tensor
) -> tuple[Posterior, Prediction]:
    r"""Learn some rows.

    Ridge regression on all rows so far, without any of the old ones:

    .. math::

        S = X \Sigma X^T + R, \quad \bar w' = \bar w + \Sigma X^T S^{-1} (y - X \bar w), \quad
        \Sigma' = \Sigma - \Sigma X^T S^{-1} X \Sigma

    The measurement update of Kalman (1960), doi:10.1115/1.3662552, for a state at rest. It costs
    :math:`O(n P^2)`, and no solution of P equations.

    Parameters
    ----------
    posterior : Posterior
    design : (n, P) float64
        X.
    targets : (n,) float64
        y.
    noise : (n,) float64
        Variances, the diagonal of R.

    Raises
    ------
    torch.linalg.LinAlgError
        If a noise is not positive.
    """
    gain = design @ posterior.covariance
    spread = gain @ design.T
    prediction = Prediction(targets - design @ posterior.mean, spread.diagonal().clone())
    factor = torch.linalg.cholesky(spread + torch.diag(noise))
    half = torch.linalg.solve_triangular(factor, gain, upper=False)
    left = torch.linalg.solve_triangular(factor, prediction.error.unsqueeze(1), upper=False)
    mean = posterior.mean + (half.T @ left).squeeze(1)
    # As a product of one matrix with itself it stays symmetric.
    covariance = torch.addmm(posterior.covariance, half.T, half, alpha=-1.0)
    return Posterior(mean, covariance), prediction
