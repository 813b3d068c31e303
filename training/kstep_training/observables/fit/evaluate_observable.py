"""Errors of fitted networks on each part of their labels, beside those of simple predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from kstep_integrators.files import write_text_atomically
from kstep_training.observables.fit.fit_data import FitData

__all__ = ["evaluate_observable", "print_evaluation", "write_evaluation"]


def evaluate_observable(data: FitData, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Errors of networks and of simple predictions, for all parts but the training set.

    Parameters
    ----------
    data : FitData
    networks : mapping of str to nn.Module
        ``network``, and the twin under its name if there is one.

    Returns
    -------
    dict
        ``parts``: for each part, the errors of every prediction, ``network`` first; ``kinds``: for
        each part with several kinds, those of the network for each.
    """
    train = data.samples["train"]
    parts: dict[str, Any] = {}
    kinds: dict[str, Any] = {}
    for part, samples in data.samples.items():
        if part == "train":
            continue
        made = _predicted(data, networks, samples)
        made |= data.target.baselines(train, samples)
        parts[part] = {name: data.target.errors(its, samples, train) for name, its in made.items()}
        present = sorted(set(samples.kind.tolist()))
        if len(present) > 1:
            kinds[part] = {kind: _of_kind(data, networks, samples, kind) for kind in present}
    return {"parts": parts, "kinds": kinds}


def _predicted(data: FitData, networks: Mapping[str, nn.Module], samples: Any) -> dict[str, Any]:
    targets = {"network": data.target, data.target.twin_name: data.target.twin()}
    return {name: targets[name].predicted(net, samples) for name, net in networks.items()}


def _of_kind(
    data: FitData, networks: Mapping[str, nn.Module], samples: Any, kind: str
) -> dict[str, float]:
    some = samples.chosen(np.flatnonzero(samples.kind == kind))
    predicted = data.target.predicted(networks["network"], some)
    errors: dict[str, float] = data.target.errors(predicted, some, data.samples["train"])
    return errors


def write_evaluation(
    data: FitData, networks: Mapping[str, nn.Module], folder: Path
) -> dict[str, Any]:
    """Evaluate, and keep the report and a picture in the folder of the fit.

    Parameters
    ----------
    data : FitData
    networks : mapping of str to nn.Module
    folder : Path
        Gets ``evaluation.json``, and ``regression.svg`` or ``spectra.svg``.

    Returns
    -------
    dict
        See :func:`evaluate_observable`.
    """
    report = evaluate_observable(data, networks)
    judged = {part: its for part, its in data.samples.items() if part != "train"}
    predicted = {
        part: data.target.predicted(networks["network"], its) for part, its in judged.items()
    }
    picture = data.target.picture(judged, predicted, data.samples["train"])
    write_text_atomically(folder / data.target.picture_name, picture)
    write_text_atomically(folder / "evaluation.json", json.dumps(report, indent=1) + "\n")
    return report


def print_evaluation(report: Mapping[str, Any]) -> None:
    """Show the errors as a table.

    Parameters
    ----------
    report : mapping
        Of :func:`evaluate_observable`.
    """
    console = Console()
    for part, predictions in report["parts"].items():
        columns = list(next(iter(predictions.values())))
        table = Table("prediction", *columns, title=part.replace("_", " "), title_justify="left")
        for name, errors in predictions.items():
            table.add_row(name, *(f"{errors[column]:.4g}" for column in columns))
        console.print(table)
