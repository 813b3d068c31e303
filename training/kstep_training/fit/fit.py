"""The stage ``fit``: a network is fitted to a dataset and becomes a model file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.markup import escape

from kstep_integrators.files import write_text_atomically
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_training.dataset.dataset_file import DatasetFile, open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.windows import WindowDataset
from kstep_training.fit.increment_fit import IncrementFit
from kstep_training.fit.lightning_module import EnergyFit
from kstep_training.fit.loaders import batch_loader
from kstep_training.fit.network_fit import NetworkFit
from kstep_training.fit.settings import FitSettings, FitStage
from kstep_training.fit.starting_point import starting_network
from kstep_training.fit.structure_losses import InternalCoordinates
from kstep_training.fit.throughput import typical_throughput
from kstep_training.fit.trainer import curves, load_averaged, train
from kstep_training.manifest import keep_identity
from kstep_training.options import override

__all__ = ["fit", "report_fit", "run_fit"]


_FREE = ("settings.fit.loader_workers", "settings.fit.wandb")
"""Settings that a fit may be resumed with otherwise: they change no number."""


def _padding(settings: FitSettings, largest: int) -> list[int]:
    """Given, or the multiples of three from six up to the largest molecule."""
    return settings.padding or [3 * i for i in range(2, max(2, -(-largest // 3)) + 1)]


def _datasets(
    stage: FitStage, data: DatasetFile, network: EnergyNetwork | IncrementNetwork
) -> tuple[Any, Any]:
    """Training and validation part, for the network at hand."""
    largest = max(len(molecule.numbers) for molecule in data.molecules)
    padding = _padding(stage.fit, largest)
    elements = network.config["elements"]
    made: list[FrameDataset | WindowDataset] = []
    for part in ("train", "validation"):
        if isinstance(network, EnergyNetwork):
            shifts = network.config["shifts"]
            cutoff = network.cutoff
            made.append(FrameDataset(data.folder, part, padding, elements, shifts, cutoff))
        else:
            baseline, strides = network.config["baseline"], network.config["strides"]
            made.append(WindowDataset(data.folder, part, baseline, strides, padding, elements))
    return made[0], made[1]


def _module(
    network: EnergyNetwork | IncrementNetwork,
    data: DatasetFile,
    settings: FitSettings,
    batches: int,
) -> NetworkFit:
    rounds = batches // settings.devices
    steps = settings.epochs * -(-rounds // settings.accumulate)
    if isinstance(network, EnergyNetwork):
        return EnergyFit(network, settings, steps)
    return IncrementFit(network, settings, steps, InternalCoordinates.of(data))


def fit(
    stage: FitStage,
    folder: str | Path,
    output: str | Path,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Fit a network and write it as a model file.

    A checkpoint is written after every epoch. Called again with the same settings and output
    folder, the fit goes on from the last one exactly as if it had never stopped: weights, their
    average, optimizer, schedule, early stopping, the shuffling of the data and random rotations.
    Only ``loader_workers`` and ``wandb`` may be other ones.

    Parameters
    ----------
    stage : FitStage
    folder : path
        Made by the stage ``dataset``.
    output : path
        Folder for checkpoints, curves and the model file.
    callbacks : sequence of lightning Callback, optional

    Returns
    -------
    Path
        ``output/NAME.safetensors``, holding the averaged weights; it may be used in periodic cells
        if it was fitted to some. ``NAME.json`` beside it is the record of the fit with its curves.

    Raises
    ------
    FileNotFoundError
        If there is no dataset or no model to start from.
    ValueError
        If the settings cannot be used with the data, or the output folder belongs to other settings
        or data.
    ImportError
        If W&B is asked for and not installed.
    KeyboardInterrupt
        If it is stopped before the last epoch; what is lost is the epoch under way.
    """
    output, data, settings = Path(output), open_dataset(folder), stage.fit
    identity = {"settings": dataclasses.asdict(stage), "data_sha256": data.content_hash}
    lightning.seed_everything(settings.seed, verbose=False)
    network, origin = starting_network(stage, data)
    sets = _datasets(stage, data, network)
    loader, validation_loader = (
        batch_loader(part, settings, shuffle)
        for part, shuffle in zip(sets, (True, False), strict=True)
    )
    module = _module(network, data, settings, len(loader))
    keep_identity(output / "fit.json", identity, f"{output} holds a fit", _FREE)
    state = train(module, loader, validation_loader, settings, output, callbacks)
    path = output / f"{stage.name}.safetensors"
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return path
    load_averaged(module, state)
    record = {
        **identity,
        **({"init_from": origin} if origin else {}),
        "molecules": sorted({s.molecule for s in data.shards if s.part == "train"}),
        "frames": len(sets[0]),
        "validation_frames": len(sets[1]),
        "epochs": state["epoch"] + 1,
        "validation": state["validation"],
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }
    molecules = [data.molecule(name) for name in record["molecules"]]
    charges = [molecule.charge for molecule in molecules]
    header = ModelHeader(
        stage.name,
        network.config,
        data.method,
        constraints=data.constraints,
        charge=(min(charges), max(charges)),
        multiplicities=tuple(sorted({molecule.multiplicity for molecule in molecules})),
        periodic=any(molecule.in_cell for molecule in molecules),
        training=record,
    )
    write_model(path, network, header)
    rows = curves(output)
    with_curves = {**record, "throughput": typical_throughput(rows), "curves": rows}
    write_text_atomically(output / f"{stage.name}.json", json.dumps(with_curves, indent=1) + "\n")
    return path


def run_fit(source: Path, overrides: Sequence[str], output: Path) -> Path:
    """Fit a network to a dataset and say where it is.

    Parameters
    ----------
    source : Path
        Made by ``kstep dataset``.
    overrides : sequence of str
        ``key=value``, the fields of :class:`kstep_training.fit.settings.FitStage`.
    output : Path

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        See :func:`fit`.
    """
    path = fit(override(FitStage, overrides), source, output)
    report_fit(path)
    return path


def report_fit(path: Path) -> None:
    """Print the validation errors and the speed of a fit, and where its model file is."""
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return
    console = Console()
    record = json.loads(path.with_suffix(".json").read_text())
    errors = ", ".join(f"{key} {value:.4g}" for key, value in record["validation"].items())
    speed = record["throughput"]
    lines = (
        f"Validation: {errors}",
        f"{speed['frames_per_second']:.0f} frames/s; {speed['loader_share']:.1%} of the time "
        "waiting for data",
        f"Model file: {escape(str(path))}",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
