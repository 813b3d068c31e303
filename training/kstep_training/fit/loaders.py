"""Loaders of batches, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from typing import Any

from kstep_training.dataset.batches import BatchSampler
from kstep_training.fit.optimization import OptimizationSettings
from kstep_training.fit.throughput import TimedLoader

__all__ = ["batch_loader"]


def batch_loader(data: Any, settings: OptimizationSettings, shuffle: bool) -> TimedLoader:
    """A loader of the batches of a dataset.

    Parameters
    ----------
    data : dataset
        Takes a list of indices and gives a batch; ``offsets`` say where its groups of equal shape
        start, as for :class:`~kstep_training.dataset.batches.BatchSampler`.
    settings : OptimizationSettings
        Size of the batches, seed, devices and processes.
    shuffle : bool
    """
    sampler = BatchSampler(
        data.offsets, settings.batch_size, settings.seed, shuffle, settings.devices
    )
    workers: dict[str, Any] = {}
    if settings.loader_workers:
        # Spawned: a process forked after PyTorch has used its threads may hang.
        workers = {"multiprocessing_context": "spawn", "persistent_workers": True}
    return TimedLoader(
        data, sampler=sampler, batch_size=None, num_workers=settings.loader_workers, **workers
    )
