"""A refit: from a folder with a model and labels to a model with all weights fitted to them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from kstep_integrators.files import write_text_atomically
from kstep_integrators.models.model_file import read_model, write_model
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.batches import BatchSampler
from kstep_training.fit.lightning_module import EnergyFit
from kstep_training.fit.settings import FitSettings
from kstep_training.fit.throughput import TimedLoader
from kstep_training.fit.trainer import curves, load_averaged, train
from kstep_training.manifest import keep_identity
from kstep_training.options import read_options
from kstep_training.refit.progress import ProgressFile
from kstep_training.refit.settings import RefitSettings, fit_settings, validation_count
from kstep_training.refit.start import start_on
from kstep_training.refit.targets import Array, TargetBatches, Targets, read_targets

__all__ = ["refit"]


def refit(folder: str | Path, quiet: bool = False, callbacks: Sequence[Callback] = ()) -> Path:
    """Fit all weights of a model to labels.

    The optimization is that of the stage ``fit``. Called again with the same folder it goes on from
    the last complete epoch exactly as if it had never stopped; a complete one is left as it is.

    Parameters
    ----------
    folder : path
        With ``start.safetensors``, a model file of a potential; ``targets.traj``, the geometries
        with the energies and forces that it is to have, in the order in which they came; and
        ``settings.json``, the fields of :class:`~kstep_training.refit.settings.RefitSettings`.
    quiet : bool
        Without a progress bar.
    callbacks : sequence of lightning Callback, optional

    Returns
    -------
    Path
        ``model.safetensors`` in the folder: the averaged weights, with the header of the start and
        the record of the refit. ``record.json`` beside it has curves and seconds too.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If one is damaged, they do not fit together, or the folder holds the beginning of another
        refit.
    KeyboardInterrupt
        If it is stopped before the end; what is lost is the epoch under way.
    """
    folder = Path(folder)
    settings = _settings(folder / "settings.json")
    start, header, digest = read_model(folder / "start.safetensors")
    if not isinstance(start, EnergyNetwork):
        raise ValueError(
            f"{folder / 'start.safetensors'} is a model of {header.kind}, and a refit is of a "
            "potential"
        )
    targets = read_targets(folder / "targets.traj", header.elements)
    count = len(targets) - validation_count(settings, len(targets))
    fitted = fit_settings(settings, count)
    record: dict[str, Any] = {
        "start": {"name": header.name, "sha256": digest},
        "targets_sha256": hashlib.sha256((folder / "targets.traj").read_bytes()).hexdigest(),
        "labels": count,
        "validation_labels": len(targets) - count,
        "settings": {**dataclasses.asdict(settings), "epochs": fitted.epochs},
    }
    state_folder, path = folder / "state", folder / "model.safetensors"
    keep_identity(state_folder / "refit.json", record, f"{folder} holds a refit")
    if path.exists():
        return path
    torch.set_num_threads(settings.threads)
    lightning.seed_everything(settings.seed, verbose=False)
    network, energies = start_on(start, targets, count)
    loaders = _loaders(targets, count, energies, network, fitted)
    module = EnergyFit(network, fitted, fitted.epochs * len(loaders[0]))
    progress = ProgressFile(folder / "progress.json", fitted.epochs)
    state = train(
        module,
        *loaders,
        fitted,
        state_folder,
        [progress, *callbacks],
        watched=not quiet,
        accelerator={"cuda": "gpu"}.get(settings.device.partition(":")[0], settings.device),
    )
    load_averaged(module, state)
    record["validation"] = state["validation"]
    whole = {**record, "seconds": round(progress.seconds, 1), "curves": curves(state_folder)}
    write_text_atomically(folder / "record.json", json.dumps(whole, indent=1) + "\n")
    # Last: whoever finds it finds all else too.
    training = {**header.training, "refit": record}
    write_model(path, network, dataclasses.replace(header, training=training))
    return path


def _settings(path: Path) -> RefitSettings:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, which has the settings of a refit")
    return read_options(RefitSettings, path)


def _loaders(
    targets: Targets, count: int, energies: Array, network: EnergyNetwork, settings: FitSettings
) -> tuple[TimedLoader, TimedLoader]:
    """Of the labels that are fitted, shuffled, and of those that validate, in order."""
    made = []
    for start, stop, shuffle in ((0, count, True), (count, len(targets), False)):
        part, elements = targets.part(start, stop), network.config["elements"]
        data = TargetBatches(part, elements, energies[start:stop], network.cutoff)
        sampler = BatchSampler(data.offsets, settings.batch_size, settings.seed, shuffle)
        made.append(TimedLoader(data, sampler=sampler, batch_size=None))
    return made[0], made[1]
