"""Errors of predicted couplings and spectra, as the reports give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kstep_training.observables.fit.spectrum_fit import derivatives

__all__ = ["coupling_errors", "mean_squares", "spectrum_errors"]

Array = npt.NDArray[np.float64]


def coupling_errors(
    predicted: npt.ArrayLike, reference: npt.ArrayLike, smallest_meV: float
) -> dict[str, float]:
    """Errors of couplings.

    Parameters
    ----------
    predicted, reference : (S,) eV
    smallest_meV : float
        Couplings below it do not count in the mean percentage error.

    Returns
    -------
    dict of str to float
        ``mae`` and ``rmse`` in meV, ``mape`` in percent (nan if all couplings are too small),
        ``r2``, the coefficient of determination (nan if all references are the same), ``spread``,
        the standard deviation of the references in meV, and ``count``.

    Examples
    --------
    >>> errors = coupling_errors([0.01, 0.03], [0.01, 0.02], smallest_meV=1.0)
    >>> {name: round(value, 6) for name, value in errors.items() if name != "rmse"}
    {'count': 2, 'mae': 5.0, 'mape': 25.0, 'r2': -1.0, 'spread': 5.0}
    """
    wanted = np.asarray(reference, dtype=np.float64)
    error = np.asarray(predicted, dtype=np.float64) - wanted
    large = np.abs(wanted) >= 1e-3 * smallest_meV
    spread = float(wanted.std())
    share = np.abs(error[large] / wanted[large])
    return {
        "count": len(wanted),
        "mae": 1e3 * float(np.abs(error).mean()),
        "rmse": 1e3 * float(np.sqrt(np.square(error).mean())),
        "mape": 1e2 * float(share.mean()) if large.any() else float("nan"),
        "r2": 1.0 - float(np.square(error).mean()) / spread**2 if spread else float("nan"),
        "spread": 1e3 * spread,
    }


def mean_squares(spectra: npt.ArrayLike, spacing: float) -> tuple[float, float, float]:
    """Mean squares of spectra and of their first and second derivatives.

    Parameters
    ----------
    spectra : (A, E) 1/eV
    spacing : float
        Of the energies, eV.

    Returns
    -------
    (float, float, float)
        1/eV^2, 1/eV^4, 1/eV^6.

    Examples
    --------
    >>> mean_squares([[0.0, 1.0, 2.0, 3.0]], spacing=1.0)
    (3.5, 1.0, 0.0)
    """
    parts = derivatives(torch.as_tensor(np.asarray(spectra, dtype=np.float64)), spacing)
    first, second, third = (float(part.square().mean()) for part in parts)
    return first, second, third


def spectrum_errors(
    predicted: npt.ArrayLike, spectra: npt.ArrayLike, spacing: float, units: Sequence[float]
) -> dict[str, float]:
    """Mean squared errors of spectra and of their derivatives.

    Parameters
    ----------
    predicted, spectra : (A, E) 1/eV
    spacing : float
        Of the energies, eV.
    units : (float, float, float)
        What the errors are divided by: :func:`mean_squares` of the training spectra.

    Returns
    -------
    dict of str to float
        ``mse``, ``mse_first`` and ``mse_second`` without a unit, and ``count``.

    Notes
    -----
    XANE(3), doi:10.48550/arXiv.2604.12140, gives errors of absorption that is of order one beyond
    the edge. Divided by their mean square, these spectra are of order one as well.

    Examples
    --------
    >>> spectrum_errors([[0.0, 0.0, 0.0]], [[0.0, 1.0, 2.0]], 1.0, (5 / 3, 1.0, 1.0))
    {'count': 1, 'mse': 1.0, 'mse_first': 1.0, 'mse_second': 0.0}
    """
    error = np.asarray(predicted, dtype=np.float64) - np.asarray(spectra, dtype=np.float64)
    squares = mean_squares(error, spacing)
    names = ("mse", "mse_first", "mse_second")
    relative = {name: s / u for name, s, u in zip(names, squares, units, strict=True)}
    return {"count": len(error), **relative}
