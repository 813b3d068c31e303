"""Fit an energy network to a data folder, resume exactly, and keep the training record."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from kstep_integrators.atomic_file import write_text_atomically
from kstep_integrators.model_file import ModelHeader, write_model
from kstep_training.config import Recipe
from kstep_training.dataset import (
    BatchSampler,
    FrameDataset,
    content_hash,
    load_folder,
)
from kstep_training.lightning_module import EnergyFit
from kstep_training.starting_point import starting_network

__all__ = ["fit"]


def _loader(data: FrameDataset, recipe: Recipe, shuffle: bool) -> DataLoader[Any]:
    size = recipe.fit.batch_size
    sampler = BatchSampler(data.offsets, size, recipe.fit.seed, shuffle)
    return DataLoader(data, sampler=sampler, batch_size=None)


def _same_fit(output: Path, identity: dict[str, Any]) -> None:
    """Refuse to resume a fit of another recipe or of other data."""
    path = output / "fit.json"
    identity = json.loads(json.dumps(identity))
    if path.exists():
        kept = json.loads(path.read_text())
        for key, what in (("recipe", "another recipe"), ("data_sha256", "other data")):
            if kept[key] != identity[key]:
                raise ValueError(
                    f"{output} holds a fit of {what} ({path.name} differs in {key!r}); choose "
                    "another output folder or remove it to start anew"
                )
        return
    output.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(identity, indent=1))


@contextmanager
def _terse() -> Iterator[None]:
    """Keep Lightning from advertising, listing devices, and warning of what is meant."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The data are in memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*directory .* exists and is not empty.*")
            # Lightning 2.6 with PyTorch 2.13.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
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


def _curves(folder: Path) -> list[dict[str, float]]:
    """Losses and validation errors by epoch, over all parts of a fit that was resumed."""
    epochs: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("version_*/metrics.csv"), key=lambda p: p.stat().st_mtime):
        with open(path, newline="") as handle:
            for row in csv.DictReader(handle):
                known = {key: float(value) for key, value in row.items() if value}
                epoch = int(known.pop("epoch"))
                known.pop("step", None)
                epochs.setdefault(epoch, {"epoch": epoch}).update(known)
    return [epochs[epoch] for epoch in sorted(epochs)]


def fit(
    recipe: Recipe,
    data: str | Path,
    validation: str | Path,
    output: str | Path,
    callbacks: list[Callback] | None = None,
) -> Path:
    """Fit a network and write it as a model file.

    A checkpoint is written after every epoch. Called again with the same recipe and output folder,
    the fit goes on from the last one exactly as if it had never stopped: weights, their average,
    optimizer, schedule and the shuffling of the data.

    Parameters
    ----------
    recipe : Recipe
    data, validation : path
        Folders of shards made by :func:`kstep_training.simulate.simulate`, from separate
        trajectories.
    output : path
        Folder for checkpoints, ``metrics.csv`` and the model file.
    callbacks : list of lightning Callback, optional

    Returns
    -------
    Path
        ``output/NAME.safetensors``, holding the averaged weights.

    Raises
    ------
    ValueError
        If the output folder belongs to another recipe or to other data.
    KeyboardInterrupt
        If it is stopped before the last epoch; what is lost is the epoch under way.
    """
    output = Path(output)
    train, held_out = load_folder(data), load_folder(validation)
    data_hash = content_hash(train)
    _same_fit(output, {"recipe": dataclasses.asdict(recipe), "data_sha256": data_hash})
    lightning.seed_everything(recipe.fit.seed, verbose=False)
    network, origin = starting_network(recipe, train)
    elements, shifts = network.config["elements"], network.config["shifts"]
    sets = [
        FrameDataset(list(part.values()), elements, shifts, recipe.fit.padding)
        for part in (train, held_out)
    ]
    train_loader, validation_loader = (
        _loader(part, recipe, shuffle) for part, shuffle in zip(sets, (True, False), strict=True)
    )
    steps_per_epoch = len(train_loader.sampler)  # type: ignore[arg-type]
    module = EnergyFit(network, recipe.fit, recipe.fit.epochs * steps_per_epoch)
    ema = EMAWeightAveraging(use_buffers=False, decay=recipe.fit.ema_decay)
    # Without a metric to monitor, the file of the last epoch replaces the one before.
    checkpoint = ModelCheckpoint(output, filename="last", enable_version_counter=False)
    last = output / "last.ckpt"
    with _terse(), _interruptible(last):
        trainer = lightning.Trainer(
            max_epochs=recipe.fit.epochs,
            gradient_clip_val=recipe.fit.gradient_clip,
            callbacks=[ema, checkpoint, *(callbacks or [])],
            # A resumed fit starts the next version_N.
            logger=CSVLogger(str(output), name="curves"),
            accelerator="auto",
            devices=1,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,
            log_every_n_steps=steps_per_epoch,
        )
        trainer.fit(
            module,
            train_loader,
            validation_loader,
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    if trainer.current_epoch < recipe.fit.epochs:
        raise KeyboardInterrupt(_how_to_resume(last))
    # From the checkpoint, not from the module: a fit that was complete already has trained nothing.
    state = torch.load(last, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])  # where the callback puts the averaged weights
    record = {
        "recipe": dataclasses.asdict(recipe),
        "data_sha256": data_hash,
        **({"started_from": origin} if origin else {}),
        "molecules": sorted(train),
        "frames": len(sets[0]),
        "validation_frames": len(sets[1]),
        "epochs": trainer.current_epoch,
        "validation": state["validation"],
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }
    path = output / f"{recipe.name}.safetensors"
    header = ModelHeader(recipe.name, network.config, recipe.data.method, training=record)
    write_model(path, network, header)
    with_curves = {**record, "curves": _curves(output / "curves")}
    (output / f"{recipe.name}.json").write_text(json.dumps(with_curves, indent=1) + "\n")
    return path
