"""Simple predictions of couplings that a network has to beat."""

from __future__ import annotations

import numpy as np

from kstep_training.observables.samples.coupling_samples import CouplingSamples
from kstep_training.observables.samples.samples import Array

__all__ = ["linear_correction", "ridge_correction"]


def linear_correction(train: CouplingSamples, samples: CouplingSamples) -> Array:
    """Couplings as a V0 + b, by least squares.

    Parameters
    ----------
    train, samples : CouplingSamples
        Fitted to, and predicted.

    Returns
    -------
    (S,) eV
    """
    slope, offset = np.polyfit(train.cheap, train.reference, 1)
    return np.asarray(slope * samples.cheap + offset)


def ridge_correction(
    train: CouplingSamples, samples: CouplingSamples, penalty: float = 1e-3
) -> Array:
    """Couplings as V0 and a linear correction in V0, R, theta and the participation ratio.

    Parameters
    ----------
    train, samples : CouplingSamples
        Fitted to, and predicted.
    penalty : float
        Of the squared coefficients of standardized numbers, against the mean squared error in
        units of the variance.

    Returns
    -------
    (S,) eV
    """
    numbers, wanted = _numbers(train), train.reference - train.cheap
    mean, scale = numbers.mean(0), np.maximum(numbers.std(0), 1e-12)
    x = (numbers - mean) / scale
    weights = np.linalg.solve(
        x.T @ x + penalty * len(x) * np.eye(x.shape[1]), x.T @ (wanted - wanted.mean())
    )
    correction = (_numbers(samples) - mean) / scale @ weights + wanted.mean()
    return np.asarray(samples.cheap + correction)


def _numbers(samples: CouplingSamples) -> Array:
    s = samples
    return np.stack([s.cheap, s.separation, s.angle, s.participation], axis=1)
