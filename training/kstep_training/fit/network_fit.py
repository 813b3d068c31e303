"""The Lightning module that fits a network: what the fits of all networks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from kstep_training.fit.optimization import OptimizationSettings

__all__ = ["NetworkFit"]


class _Movable(Protocol):
    def to(self, device: torch.device | str) -> _Movable: ...


class NetworkFit(lightning.LightningModule):
    """Optimizer, schedule, and validation errors that are kept with the weights.

    Parameters
    ----------
    network : nn.Module
        Weights that do not require a gradient stay as they are.
    settings : OptimizationSettings
    total_steps : int
        Optimizer steps of the whole fit, for the learning-rate schedule.

    Attributes
    ----------
    monitor : str
        The validation error that early stopping goes by.
    validation : dict of str to float
        Errors of the last validation.
    """

    monitor: ClassVar[str]

    def __init__(
        self, network: nn.Module, settings: OptimizationSettings, total_steps: int
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.total_steps = total_steps
        self.validation: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The validation errors from the sums over the whole validation set."""
        raise NotImplementedError

    def learning_rate_factor(self, step: int) -> float:
        """The learning rate of a step of the optimizer over that of the settings."""
        raise NotImplementedError

    def generator(self, index: int) -> torch.Generator:
        """Random numbers for the augmentation of a batch.

        They depend on where in the fit the batch stands and on nothing before, so that a resumed
        fit makes the same ones.
        """
        place = [self.settings.seed, self.current_epoch, index, self.global_rank]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        return torch.Generator().manual_seed(seed)

    def on_validation_epoch_start(self) -> None:
        """Start the sums from which the errors of the whole set are made."""
        self._sums = {}

    def counted(self, index: int) -> int:
        """Number of frames of a validation batch that count; the others fill it up."""
        loader: Any = self.trainer.val_dataloaders
        place = index * self.trainer.world_size + self.trainer.global_rank
        count: int = loader.sampler.counted(place)
        return count

    def add(self, **parts: Tensor | int) -> None:
        """Add what a validation batch comes to, to the sums."""
        for key, value in parts.items():
            part = torch.as_tensor(value).detach().cpu().double()
            self._sums[key] = self._sums.get(key, torch.zeros(())) + part

    def on_validation_epoch_end(self) -> None:
        """Log the errors; the sums are those over all devices."""
        keys = sorted(self._sums)
        sums = torch.stack([self._sums[key] for key in keys]).to(self.device)
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self.validation = self.errors(dict(zip(keys, sums.tolist(), strict=True)))
        self.log_dict(self.validation, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the errors with the weights they belong to."""
        checkpoint["validation"] = self.validation

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule of :meth:`learning_rate_factor`."""
        s = self.settings
        optimizer = torch.optim.AdamW(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=s.learning_rate,
            weight_decay=s.weight_decay,
            amsgrad=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.learning_rate_factor(step)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: _Movable, device: torch.device, index: int
    ) -> _Movable:
        """Move a batch (Lightning does not know the dataclass)."""
        return batch.to(device)
