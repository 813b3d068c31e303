"""The stage ``fit`` for labels: a network is fitted to a folder of them and becomes a file."""

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
from torch import nn

from kstep_integrators.files import write_text_atomically
from kstep_integrators.observables.observable_file import ObservableHeader, write_observable
from kstep_training.fit.fit import report_fit
from kstep_training.fit.loaders import batch_loader
from kstep_training.fit.throughput import typical_throughput
from kstep_training.fit.trainer import curves, load_averaged, train
from kstep_training.manifest import keep_identity
from kstep_training.observables.fit.evaluate_observable import print_evaluation, write_evaluation
from kstep_training.observables.fit.fit_data import FIT_STAGES, FitData, make_fit_data
from kstep_training.observables.fit.fit_stages import CouplingFitStage, SpectrumFitStage
from kstep_training.observables.fit.graph_batches import GraphDataset
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.options import override

__all__ = ["fit_observable", "run_fit_observable"]

_FREE = ("settings.fit.loader_workers", "settings.fit.wandb")
"""Settings that a fit may be resumed with otherwise: they change no number."""


def fit_observable(
    stage: CouplingFitStage | SpectrumFitStage,
    folder: str | Path,
    output: str | Path,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Fit a network to labels, evaluate it, and write it as the file of an observable.

    A checkpoint is written after every epoch. Called again with the same settings and output
    folder, the fit goes on from the last one exactly as if it had never stopped: weights, their
    average, optimizer, schedule, early stopping, the order of the data, jitter and orientations.
    Only ``loader_workers`` and ``wandb`` may be other ones.

    Parameters
    ----------
    stage : CouplingFitStage or SpectrumFitStage
    folder : path
        Made by the stage ``label``.
    output : path
        Folder for checkpoints, curves, the file, its evaluation and a picture.
    callbacks : sequence of lightning Callback, optional

    Returns
    -------
    Path
        ``output/NAME.safetensors``, holding the averaged weights. ``NAME.json`` beside it is the
        record of the fit with its curves, ``evaluation.json`` has errors on all parts beside those
        of simple predictions.

    Raises
    ------
    FileNotFoundError
        If there are no labels.
    ValueError
        If the settings cannot be used with the labels, or the output folder belongs to other
        settings or labels.
    ImportError
        If W&B is asked for and not installed.
    KeyboardInterrupt
        If it is stopped before the last epoch; what is lost is the epoch under way.
    """
    output, labels = Path(output), read_labels(folder)
    data = make_fit_data(stage, labels)
    data.target.network(data.samples["train"])  # refuses settings before they claim the folder
    identity = {"settings": dataclasses.asdict(stage), "labels_sha256": labels.digest}
    keep_identity(output / "fit.json", identity, f"{output} holds a fit", _FREE)
    network, state = _fitted(data, output, callbacks)
    networks: dict[str, nn.Module] = {"network": network}
    if stage.twin:
        twin = dataclasses.replace(data, target=data.target.twin())
        networks[data.target.twin_name], _ = _fitted(twin, output / "twin", callbacks)
    path = output / f"{stage.name}.safetensors"
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return path
    report = write_evaluation(data, networks, output)
    record = {
        **identity,
        "kinds": sorted(set(data.samples["train"].kind.tolist())),
        "split": data.trajectories,
        "labels": {part: len(samples) for part, samples in data.samples.items()},
        "epochs": state["epoch"] + 1,
        "validation": state["validation"],
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }
    charge = labels.settings.get("charge", 0)  # couplings are those of neutral molecules
    header = ObservableHeader(
        stage.name,
        **data.target.methods(labels.settings),
        kind=data.target.kind,
        unit=data.target.unit,
        charge=(charge, charge),
        errors={part: errors["network"] for part, errors in report["parts"].items()},
        training=record,
    )
    write_observable(path, network, header)
    rows = curves(output)
    with_curves = {**record, "throughput": typical_throughput(rows), "curves": rows}
    write_text_atomically(output / f"{stage.name}.json", json.dumps(with_curves, indent=1) + "\n")
    return path


def _fitted(
    data: FitData, output: Path, callbacks: Sequence[Callback]
) -> tuple[Any, dict[str, Any]]:
    """A network with its averaged weights, and the checkpoint that they are from."""
    settings, target = data.target.stage.fit, data.target
    lightning.seed_everything(settings.seed, verbose=False)
    network = target.network(data.samples["train"])
    loader, validation_loader = (
        batch_loader(GraphDataset(target.graphs(data.samples[part])), settings, shuffle)
        for part, shuffle in (("train", True), ("validation", False))
    )
    steps = settings.epochs * -(-len(loader) // settings.accumulate)
    module = target.module(network, data.samples["train"], steps)
    state = train(module, loader, validation_loader, settings, output, callbacks)
    load_averaged(module, state)
    return network.cpu().eval(), state


def run_fit_observable(source: Path, overrides: Sequence[str], output: Path) -> Path:
    """Fit a network to labels, and say where it is and how good.

    Parameters
    ----------
    source : Path
        Made by ``kstep label``.
    overrides : sequence of str
        ``key=value``, the fields of the settings that go with the kind of labels:
        :class:`~kstep_training.observables.fit.fit_stages.CouplingFitStage` or
        :class:`~kstep_training.observables.fit.fit_stages.SpectrumFitStage`.
    output : Path

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        See :func:`fit_observable`.
    """
    kind = read_labels(source).kind
    path = fit_observable(override(FIT_STAGES[kind], overrides), source, output)
    report_fit(path)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print_evaluation(json.loads((output / "evaluation.json").read_text()))
    return path
