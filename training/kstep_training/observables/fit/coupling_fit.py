"""The Lightning module that fits a network to couplings: corrections of a cheap coupling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kstep_integrators.observables.networks.graphs import Batch
from kstep_training.observables.fit.fit_settings import CouplingFitSettings
from kstep_training.observables.fit.graph_fit import GraphFit

__all__ = ["CouplingFit", "distance_weights"]


def distance_weights(separation: npt.ArrayLike, scale: float) -> npt.NDArray[np.float64]:
    """Weights of the errors of dimers by the distance of their molecules.

    Couplings fall exponentially with the distance, so that an absolute error is soon as large as
    the coupling itself. A weight that grows exponentially lets distant dimers count.

    Parameters
    ----------
    separation : (S,) angstrom
        Of the samples that are fitted to.
    scale : float
        The distance (angstrom) over which the weight grows by a factor e; 0: all weigh the same.

    Returns
    -------
    (S,)
        exp(R / scale) over its mean.

    Examples
    --------
    >>> distance_weights([3.0, 5.0], 4.0).round(3).tolist()
    [0.755, 1.245]
    """
    distances = np.asarray(separation, dtype=np.float64)
    if scale == 0.0:
        return np.ones(len(distances))
    weights = np.exp((distances - distances.max()) / scale)
    return np.asarray(weights / weights.mean())


class CouplingFit(GraphFit):
    """Absolute errors of the coupling, weighted by distance, in units of the corrections' spread.

    Batches carry ``correction``, what the network has to give (eV), ``reference``, the whole
    coupling (eV), and ``weight`` for each dimer. The validation errors are ``val_mae`` in meV, and
    ``val_mape``, the mean percentage error of those couplings that are not below ``smallest_meV``.

    Parameters
    ----------
    network : DeltaCoupling
    settings : CouplingFitSettings
    total_steps : int
    spread : float
        Unit of errors in the loss, eV.

    Examples
    --------
    >>> from torch import nn
    >>> CouplingFit(nn.Linear(1, 1), CouplingFitSettings(), total_steps=100, spread=0.02).monitor
    'val_mae'
    """

    monitor = "val_mae"
    settings: CouplingFitSettings

    def __init__(
        self, network: nn.Module, settings: CouplingFitSettings, total_steps: int, spread: float
    ) -> None:
        super().__init__(network, settings, total_steps)
        self.spread = spread

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        batch = self.augmented(batch, index)
        error = self.network(batch) - batch.correction
        loss: Tensor = (batch.weight * error.abs()).mean() / self.spread
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=batch.num_graphs)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the sums."""
        some = self.counted(index)
        reference = batch.reference[:some].double()
        error = (self.network(batch) - batch.correction)[:some].double().abs()
        large = reference.abs() >= 1e-3 * self.settings.smallest_meV
        share = torch.where(large, error / reference.abs(), 0.0)
        self.add(error=error.sum(), count=some, share=share.sum(), large=large.sum())

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Mean absolute error (meV) and mean percentage error."""
        return {
            "val_mae": 1e3 * sums["error"] / sums["count"],
            "val_mape": 1e2 * sums["share"] / max(1.0, sums["large"]),
        }
