"""The Lightning module that fits a network to spectra and to their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kstep_integrators.observables.networks.graphs import Batch
from kstep_training.observables.fit.fit_settings import SpectrumFitSettings
from kstep_training.observables.fit.graph_fit import GraphFit

__all__ = ["SpectrumFit", "derivatives"]


def derivatives(spectra: Tensor, spacing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Spectra with their first and second derivatives, by finite differences.

    Parameters
    ----------
    spectra : (..., E)
        On energies of equal spacing.
    spacing : float
        Of the energies, eV.

    Returns
    -------
    (..., E), (..., E - 2), (..., E - 2)
        Central differences, which the first and the last energy do not have.

    Examples
    --------
    >>> squares = torch.arange(5.0) ** 2
    >>> [part.tolist() for part in derivatives(squares, 1.0)[1:]]
    [[2.0, 4.0, 6.0], [2.0, 2.0, 2.0]]
    """
    before, here, after = spectra[..., :-2], spectra[..., 1:-1], spectra[..., 2:]
    first = (after - before) / (2.0 * spacing)
    return spectra, first, (after - 2.0 * here + before) / spacing**2


class SpectrumFit(GraphFit):
    """Squared errors of spectra and of their first derivatives.

    Batches carry ``spectrum`` (A, E) with a row for each absorber. All errors are divided by the
    mean square of what they are errors of, over the training set, so that a spectrum of zeros has
    1: ``val_mse``, and ``val_mse_first`` and ``val_mse_second`` of the derivatives.

    Parameters
    ----------
    network : XANESNetwork
    settings : SpectrumFitSettings
    total_steps : int
    spacing : float
        Of the energies, eV.
    mean_squares : (float, float, float)
        Of the training spectra (1/eV^2) and their first (1/eV^4) and second (1/eV^6) derivatives.

    Examples
    --------
    >>> from torch import nn
    >>> SpectrumFit(nn.Linear(1, 1), SpectrumFitSettings(), 100, 0.1, (1.0, 1.0, 1.0)).monitor
    'val_mse'
    """

    monitor = "val_mse"
    settings: SpectrumFitSettings

    def __init__(
        self,
        network: nn.Module,
        settings: SpectrumFitSettings,
        total_steps: int,
        spacing: float,
        mean_squares: Sequence[float],
    ) -> None:
        super().__init__(network, settings, total_steps)
        self.spacing = spacing
        self.mean_squares = tuple(mean_squares)

    def squared_errors(self, predicted: Tensor, spectra: Tensor) -> list[Tensor]:
        """Mean squared errors of spectra and of both derivatives, each (A,), without a unit."""
        parts = derivatives(predicted - spectra, self.spacing)
        return [
            part.square().mean(-1) / unit
            for part, unit in zip(parts, self.mean_squares, strict=True)
        ]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        batch = self.augmented(batch, index)
        # In single precision also where the passes are not: differences of neighbouring energies.
        spectrum, first, _ = self.squared_errors(self.network(batch).float(), batch.spectrum)
        loss = spectrum.mean() + self.settings.derivative_weight * first.mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=batch.num_graphs)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the sums."""
        real = batch.batch[batch.absorber_index] < self.counted(index)
        predicted, spectra = self.network(batch)[real].double(), batch.spectrum[real].double()
        errors = self.squared_errors(predicted, spectra)
        keys = ("spectrum", "first", "second")
        sums = {key: error.sum() for key, error in zip(keys, errors, strict=True)}
        self.add(**sums, count=torch.count_nonzero(real))

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Mean squared errors of spectra and of both derivatives, without a unit."""
        return {
            "val_mse": sums["spectrum"] / sums["count"],
            "val_mse_first": sums["first"] / sums["count"],
            "val_mse_second": sums["second"] / sums["count"],
        }
