"""Speed of a fit: frames per second, and the share of the time spent on reading."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

__all__ = ["ThroughputRecorder", "TimedLoader", "typical_throughput"]


class TimedLoader(DataLoader[Any]):
    """A loader that adds up the time that is spent waiting for its batches.

    Attributes
    ----------
    waited : float
        Seconds.
    """

    waited = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch


class ThroughputRecorder(Callback):
    """Logs ``frames_per_second`` and ``loader_share`` of the training part of every epoch.

    The frames are those of all devices. The share is the time the loop waits for batches over the
    time of the epoch without validation; copies to a device do not count as waiting.

    Parameters
    ----------
    loader : TimedLoader
    batch_size : int
        Frames of one batch.
    """

    def __init__(self, loader: TimedLoader, batch_size: int) -> None:
        self.loader = loader
        self.batch_size = batch_size
        self._started = self._waited = 0.0
        self._seconds = 0.0

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clock."""
        self._started, self._waited = time.perf_counter(), self.loader.waited

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Stop the clock: what comes now is no training."""
        self._seconds = time.perf_counter() - self._started

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Log the epoch."""
        frames = trainer.num_training_batches * self.batch_size * trainer.world_size
        pl_module.log_dict(
            {
                "frames_per_second": frames / self._seconds,
                "loader_share": (self.loader.waited - self._waited) / self._seconds,
            },
            rank_zero_only=True,
        )


def typical_throughput(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Medians over epochs; the first, which compiles, counts only where it is alone.

    Parameters
    ----------
    rows : sequence of dict
        Curves of a fit.
    """
    rows = [row for row in rows if "frames_per_second" in row]
    rows = rows[1:] or rows
    return {
        key: statistics.median(row[key] for row in rows)
        for key in ("frames_per_second", "loader_share")
        if rows
    }
