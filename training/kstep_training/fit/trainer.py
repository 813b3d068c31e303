"""The optimization of one network: resumes exactly, stops early, keeps curves and throughput."""

from __future__ import annotations

import csv
import importlib
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy

from kstep_training.fit.network_fit import NetworkFit
from kstep_training.fit.optimization import OptimizationSettings
from kstep_training.fit.throughput import ThroughputRecorder, TimedLoader

__all__ = ["averaging_decay", "curves", "load_averaged", "train"]


class _Stopper(EarlyStopping):
    """Early stopping that a fit which is run again after it had stopped knows of."""

    @property
    def done(self) -> bool:
        return self.wait_count >= self.patience

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        trainer.should_stop = trainer.should_stop or self.done


@contextmanager
def _terse() -> Iterator[None]:
    """Keep Lightning from advertising, listing devices, and warning of what is meant."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Whether they help is measured: loader_share in the record.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*directory .* exists and is not empty.*")
            # Lightning 2.6 with PyTorch 2.13.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible(last: Path) -> Iterator[None]:
    """Let Ctrl-C come out as KeyboardInterrupt that says how to go on.

    Lightning turns it into SystemExit and leaves the process deaf to further ones.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(_how_to_resume(last)) from None


def _how_to_resume(last: Path) -> str:
    if not last.exists():
        return "stopped within the first epoch; run again to start anew"
    return f"stopped; run again with the same output folder to go on from {last}"


def _loggers(output: Path, project: str | None, watched: bool) -> list[Logger]:
    # A resumed fit starts the next version_N.
    loggers: list[Logger] = [CSVLogger(str(output), name="curves")]
    if watched:
        loggers.append(TensorBoardLogger(str(output), name="tensorboard"))
    if project is not None:
        importlib.import_module("wandb")  # Lightning's own error does not say what to install
        loggers.append(WandbLogger(project=project, save_dir=str(output)))
    return loggers


def _checked_precision(precision: str) -> Any:
    if precision == "16-mixed" and not torch.cuda.is_available():
        raise ValueError(
            "fit.precision is '16-mixed', which needs a GPU and there is none; use 32 or bf16-mixed"
        )
    return precision


def curves(output: Path) -> list[dict[str, float]]:
    """Losses and validation errors by epoch, over all parts of a fit that was resumed.

    Parameters
    ----------
    output : Path
        Folder of the fit.
    """
    epochs: dict[int, dict[str, float]] = {}
    files = (output / "curves").glob("version_*/metrics.csv")
    for path in sorted(files, key=lambda p: p.stat().st_mtime):
        with open(path, newline="") as handle:
            for row in csv.DictReader(handle):
                known = {key: float(value) for key, value in row.items() if value}
                epoch = int(known.pop("epoch"))
                known.pop("step", None)
                epochs.setdefault(epoch, {"epoch": epoch}).update(known)
    return [epochs[epoch] for epoch in sorted(epochs)]


def averaging_decay(decay: float, steps: int) -> float:
    """Decay of averaged weights that forgets, by the end of a fit, the weights it began with.

    Parameters
    ----------
    decay : float
        What is asked for.
    steps : int
        Of the optimizer, in the whole fit.

    Returns
    -------
    float
        At most 1 - 10 / steps: the average reaches back over a tenth of the fit, no further.
    """
    return min(decay, max(0.0, 1.0 - 10.0 / steps))


def load_averaged(module: NetworkFit, state: Mapping[str, Any]) -> None:
    """Give a module the averaged weights of a checkpoint.

    Parameters
    ----------
    module : NetworkFit
    state : mapping
        Of :func:`train`.
    """
    # What is averaged is a copy of the module, and copies of torch.fx's modules, which e3nn makes
    # tensor products of, count their constants among the weights.
    names = module.state_dict()
    averaged = {name: value for name, value in state["state_dict"].items() if name in names}
    module.load_state_dict(averaged)


def train(
    module: NetworkFit,
    loader: TimedLoader,
    validation_loader: TimedLoader,
    settings: OptimizationSettings,
    output: Path,
    callbacks: Sequence[Callback] = (),
    watched: bool = True,
    accelerator: str = "auto",
) -> dict[str, Any]:
    """Optimize until the last epoch, or until early stopping.

    A checkpoint is written after every epoch; called again with the same arguments, the fit goes on
    from it as if it had never stopped.

    Parameters
    ----------
    module : NetworkFit
    loader, validation_loader : TimedLoader
        Their samplers give each process its own batches.
    settings : OptimizationSettings
    output : Path
    callbacks : sequence of lightning Callback
    watched : bool
        Whether somebody looks: with a progress bar, and curves for TensorBoard.
    accelerator : str
        Lightning's name of the kind of device.

    Returns
    -------
    dict
        The checkpoint whose averaged weights are the result, for :func:`load_averaged`: the last
        one, or with ``patience`` the best.

    Raises
    ------
    KeyboardInterrupt
        If it is stopped before the end; what is lost is the epoch under way.
    ImportError
        If W&B is asked for and not installed.
    ValueError
        If the precision is not to be had here.
    """
    last, best = output / "last.ckpt", output / "best.ckpt"
    # Without a metric to monitor, the file of the last epoch replaces the one before.
    kept = [ModelCheckpoint(output, filename="last", enable_version_counter=False)]
    stoppers = []
    if settings.patience is not None:
        stoppers = [_Stopper(module.monitor, patience=settings.patience)]
        kept.insert(
            0,
            ModelCheckpoint(
                output, filename="best", monitor=module.monitor, enable_version_counter=False
            ),
        )
    parallel = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    loggers, precision = (
        _loggers(output, settings.wandb, watched),
        _checked_precision(settings.precision),
    )
    with _terse(), _interruptible(last):
        trainer = lightning.Trainer(
            max_epochs=settings.epochs,
            gradient_clip_val=settings.gradient_clip,
            accumulate_grad_batches=settings.accumulate,
            precision=precision,
            callbacks=[
                EMAWeightAveraging(
                    use_buffers=False,
                    decay=averaging_decay(settings.ema_decay, module.total_steps),
                ),
                ThroughputRecorder(loader, settings.batch_size),
                *stoppers,
                *kept,
                *([RichProgressBar()] if watched else []),
                *callbacks,
            ],
            logger=loggers,
            accelerator=accelerator,
            enable_progress_bar=watched,
            devices=settings.devices,
            strategy=parallel if settings.devices > 1 else "auto",
            use_distributed_sampler=False,  # the samplers know
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,
            log_every_n_steps=len(loader),
        )
        trainer.fit(
            module,
            loader,
            validation_loader,
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    if trainer.current_epoch < settings.epochs and not any(stopper.done for stopper in stoppers):
        raise KeyboardInterrupt(_how_to_resume(last))
    # From a checkpoint, not from the module: a fit that was complete already has trained nothing.
    state: dict[str, Any] = torch.load(
        last if settings.patience is None else best, map_location="cpu", weights_only=True
    )
    return state
