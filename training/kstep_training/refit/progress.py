"""``progress.json``: how far a refit is, for the run that waits for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Checkpoint

from kstep_integrators.files import write_text_atomically
from kstep_training.fit.network_fit import NetworkFit

__all__ = ["ProgressFile"]


class ProgressFile(Checkpoint):
    """Writes the file after every epoch, when the epoch can be gone on from.

    Lightning calls checkpoints last, and in the order in which they were given: this one is to come
    after that of the weights, or a worker that is ended in between has told of an epoch that is
    lost.

    Parameters
    ----------
    path : Path
        Seconds go on from those that it has.
    epochs : int

    Attributes
    ----------
    seconds : float
        Of all parts of a refit that was resumed.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self.epochs = path, epochs
        self._before = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on the refit so far."""
        return float(self._before + time.monotonic() - self._started)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write what the epoch came to."""
        validation = pl_module.validation if isinstance(pl_module, NetworkFit) else {}
        described = {
            "epoch": trainer.current_epoch + 1,
            "epochs": self.epochs,
            "validation": validation,
            "seconds": round(self.seconds, 1),
        }
        write_text_atomically(self.path, json.dumps(described, indent=1) + "\n")
