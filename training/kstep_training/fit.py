"""Fit an energy network to a data folder, resume exactly, and keep the training record."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from kstep_integrators.model_file import ModelHeader, write_model
from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_training.config import Recipe
from kstep_training.dataset import (
    BatchSampler,
    FrameDataset,
    content_hash,
    element_shifts,
    load_folder,
)
from kstep_training.lightning_module import EnergyFit

__all__ = ["fit"]


def _loader(data: FrameDataset, recipe: Recipe, shuffle: bool) -> DataLoader[Any]:
    size = recipe.fit.batch_size
    sampler = BatchSampler(data.offsets, size, recipe.fit.seed, shuffle)
    return DataLoader(data, sampler=sampler, batch_size=None)


def _same_recipe(output: Path, recipe: Recipe) -> None:
    """Refuse to resume another fit."""
    path = output / "recipe.json"
    described = json.loads(json.dumps(dataclasses.asdict(recipe)))
    if path.exists() and json.loads(path.read_text()) != described:
        raise ValueError(
            f"{output} holds a fit of another recipe ({path.name} differs); choose another output "
            "folder or remove it to start anew"
        )
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=1))


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
        If the output folder belongs to another recipe.
    """
    output = Path(output)
    _same_recipe(output, recipe)
    lightning.seed_everything(recipe.fit.seed, verbose=False)
    train, held_out = load_folder(data), load_folder(validation)
    elements = sorted({int(z) for t in train.values() for z in t.numbers})
    shifts = element_shifts(list(train.values()), elements)
    sets = [
        FrameDataset(list(part.values()), elements, shifts, recipe.fit.padding)
        for part in (train, held_out)
    ]
    train_loader, validation_loader = (
        _loader(part, recipe, shuffle) for part, shuffle in zip(sets, (True, False), strict=True)
    )
    network = EnergyNetwork(elements, shifts=shifts, **dataclasses.asdict(recipe.network))
    network.to(torch.float32)
    total_steps = recipe.fit.epochs * len(train_loader.sampler)  # type: ignore[arg-type]
    module = EnergyFit(network, recipe.fit, total_steps)
    ema = EMAWeightAveraging(use_buffers=False, decay=recipe.fit.ema_decay)
    checkpoint = ModelCheckpoint(output, filename="{epoch}", save_last=True, save_top_k=0)
    logger = CSVLogger(str(output), name="curves")  # a resumed fit starts the next version_N
    trainer = lightning.Trainer(
        max_epochs=recipe.fit.epochs,
        gradient_clip_val=recipe.fit.gradient_clip,
        callbacks=[ema, checkpoint, *(callbacks or [])],
        logger=logger,
        accelerator="auto",
        devices=1,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        log_every_n_steps=50,
    )
    last = output / "last.ckpt"
    with warnings.catch_warnings():
        # The data are in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings(
            "ignore", message=".*Checkpoint directory.*exists and is not empty.*"
        )
        trainer.fit(
            module,
            train_loader,
            validation_loader,
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    if trainer.current_epoch < recipe.fit.epochs:
        raise KeyboardInterrupt(
            f"stopped after {trainer.current_epoch} epochs; run again to resume"
        )
    record = {
        "recipe": dataclasses.asdict(recipe),
        "data_sha256": content_hash(train),
        "molecules": sorted(train),
        "frames": len(sets[0]),
        "validation_frames": len(sets[1]),
        "epochs": trainer.current_epoch,
        "validation": {k: float(v) for k, v in trainer.callback_metrics.items() if "val" in k},
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }
    path = output / f"{recipe.name}.safetensors"
    header = ModelHeader(recipe.name, network.config, recipe.data.method, training=record)
    write_model(path, network, header)
    (output / f"{recipe.name}.json").write_text(json.dumps(record, indent=1))
    return path
