"""The Lightning module that fits a network of graphs: augmentation, and one cycle of the rate."""

from __future__ import annotations

import math

from kstep_integrators.observables.networks.graphs import Batch
from kstep_training.fit.network_fit import NetworkFit
from kstep_training.observables.fit.augmentation import augmented
from kstep_training.observables.fit.fit_settings import GraphFitSettings

__all__ = ["GraphFit", "one_cycle_factor"]

_START = 1.0 / 25.0
"""Learning rate at the beginning over the largest, as Smith and Topin's implementations have it."""


def one_cycle_factor(step: int, total: int, rise: float, final: float) -> float:
    """Learning rate over its largest value, in one cycle: half a cosine up, half a cosine down.

    Parameters
    ----------
    step : int
        Of the optimizer.
    total : int
        Steps of the whole fit.
    rise : float
        Part of them in which it grows.
    final : float
        At the end.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", doi:10.1117/12.2520589.

    Examples
    --------
    >>> [round(one_cycle_factor(step, 11, 0.2, 0.0), 3) for step in (0, 2, 6, 10)]
    [0.04, 1.0, 0.5, 0.0]
    """
    last = max(1, total - 1)
    top = rise * last
    if step <= top:
        start, end, progress = _START, 1.0, step / top
    else:
        start, end, progress = 1.0, final, min(1.0, (step - top) / (last - top))
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


class GraphFit(NetworkFit):
    """The common part of fits of couplings and of spectra.

    Parameters
    ----------
    network : nn.Module
        Takes a batch of graphs.
    settings : GraphFitSettings
    total_steps : int

    Examples
    --------
    >>> from torch import nn
    >>> fit = GraphFit(nn.Linear(1, 1), GraphFitSettings(), total_steps=100)
    >>> round(fit.learning_rate_factor(0), 3)
    0.04
    """

    settings: GraphFitSettings

    def learning_rate_factor(self, step: int) -> float:
        """One cycle: :func:`one_cycle_factor`."""
        s = self.settings
        final = s.final_learning_rate / s.learning_rate
        return one_cycle_factor(step, self.total_steps, s.rise, final)

    def augmented(self, batch: Batch, index: int) -> Batch:
        """A batch with jitter and in random orientations, as the settings ask for."""
        s = self.settings
        return augmented(batch, self.generator(index), s.jitter, s.rotate)
