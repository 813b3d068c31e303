"""The stage ``fit``: a network is fitted to a data set and becomes a model file."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.markup import escape

from kstep_integrators.atomic_file import write_text_atomically
from kstep_integrators.model_file import ModelHeader, write_model
from kstep_training.dataset import BatchSampler
from kstep_training.fit_settings import FitSettings, FitStage
from kstep_training.options import override
from kstep_training.throughput import TimedLoader
from kstep_training.trainer import curves, train

__all__ = ["fit", "run_fit"]


def _loader(data: Any, settings: FitSettings, shuffle: bool) -> TimedLoader:
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


def _same_fit(output: Path, identity: dict[str, Any]) -> None:
    """Refuse to resume a fit with other settings or of other data."""
    path = output / "fit.json"
    identity = json.loads(json.dumps(identity))
    if path.exists():
        kept = json.loads(path.read_text())
        for key, what in (("settings", "with other settings"), ("data_sha256", "of other data")):
            if kept[key] != identity[key]:
                raise ValueError(
                    f"{output} holds a fit {what} ({path.name} differs in {key!r}); choose "
                    "another output folder or remove it to start anew"
                )
        return
    output.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(identity, indent=1))


def _padding(settings: FitSettings, largest: int) -> list[int]:
    """Given, or the multiples of three from six up to the largest molecule."""
    return settings.padding or [3 * i for i in range(2, max(2, -(-largest // 3)) + 1)]


