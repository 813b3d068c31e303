"""Averages of an observable over trajectories, with their statistical errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kstep_integrators.diagnostics.sampling import autocorrelation, block_error, correlation

__all__ = ["Average", "averaged"]

Array = npt.NDArray[np.float64]

BLOCKS = 5
"""Of each trajectory, whose means are taken as independent for errors of spectra."""


@dataclass(frozen=True)
class Average:
    """Mean of an observable over the frames of all trajectories.

    Attributes
    ----------
    frames : int
        Of all trajectories.
    mean, spread : float, or list of E floats
        Mean and standard deviation over the frames, at each energy of a spectrum.
    error : float, list of E floats, or None
        Standard error of the mean; None if the frames are too few to tell.
    root_mean_square : float or None
        Of a number, as rates go with the square of a coupling; None of spectra.
    effective_samples : float or None
        Independent frames that the frames are worth; None if they are too few to tell.
    autocorrelation : (F,) array or None
        Of a number, by frame, up to half of the shortest trajectory.
    """

    frames: int
    mean: Any
    spread: Any
    error: Any
    root_mean_square: float | None
    effective_samples: float | None
    autocorrelation: Array | None


def averaged(runs: Sequence[Mapping[str, Array]], name: str) -> Average:
    """Average of one array over runs.

    Parameters
    ----------
    runs : sequence of mapping
        Arrays by name, (F,) or (F, E), of runs that are independent.
    name : str

    Returns
    -------
    Average
        Errors of a number are its spread over the square root of the effective samples (Madras and
        Sokal, doi:10.1007/BF01022990); those of spectra come from means over blocks.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(2, 1000))
    >>> average = averaged([{"coupling": run} for run in noise], "coupling")
    >>> abs(average.mean) < 0.1, 0.015 < average.error < 0.03
    (True, True)
    """
    values = np.concatenate([run[name] for run in runs])
    mean, spread = values.mean(axis=0), values.std(axis=0)
    length = min(len(run[name]) for run in runs)
    # Equal lengths, from the ends of the runs: what comes first is the least equilibrated.
    series = np.stack([run[name][-length:] for run in runs])
    if values.ndim > 1:
        enough = length >= 2 * BLOCKS
        error = block_error(series, BLOCKS).tolist() if enough else None
        return Average(len(values), mean.tolist(), spread.tolist(), error, None, None, None)
    square = float(np.sqrt(np.square(values).mean()))
    if length < 4 or float(spread) <= 1e-12 * max(1e-300, square):
        return Average(len(values), float(mean), float(spread), None, square, None, None)
    found = correlation(series)
    samples = min(len(values) / found.inefficiency, float(len(values)))
    return Average(
        frames=len(values),
        mean=float(mean),
        spread=float(spread),
        error=float(spread / np.sqrt(samples)) if found.resolved else None,
        root_mean_square=square,
        effective_samples=samples if found.resolved else None,
        autocorrelation=autocorrelation(series)[: max(2, length // 2)],
    )
