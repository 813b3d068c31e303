"""Targets of a fit to labels, and its samples, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols

from kstep_training.observables.fit.coupling_target import CouplingTarget
from kstep_training.observables.fit.fit_stages import CouplingFitStage, SpectrumFitStage
from kstep_training.observables.fit.spectrum_target import SpectrumTarget
from kstep_training.observables.labels.label_folder import Labels
from kstep_training.observables.samples.samples import by_part
from kstep_training.observables.samples.split import split_labels

__all__ = ["FIT_STAGES", "FitData", "make_fit_data"]

FIT_STAGES: Final[dict[str, type[CouplingFitStage] | type[SpectrumFitStage]]] = {
    "couplings": CouplingFitStage,
    "xanes": SpectrumFitStage,
}
"""Settings of a fit, by the kind of labels."""


@dataclass(frozen=True)
class FitData:
    """A target with the samples that it is learned from and judged by.

    Attributes
    ----------
    target : CouplingTarget or SpectrumTarget
    samples : dict
        Those of each part: ``train``, and what there is of ``validation``, ``test``, ``held_out``.
    trajectories : dict of str to list of str
        Of each part.
    """

    target: Any  # of one of the two; its samples are of the same kind
    samples: dict[str, Any]
    trajectories: dict[str, list[str]]


def make_fit_data(stage: CouplingFitStage | SpectrumFitStage, labels: Labels) -> FitData:
    """The samples of a folder of labels, in their parts.

    Parameters
    ----------
    stage : CouplingFitStage or SpectrumFitStage
    labels : Labels

    Raises
    ------
    ValueError
        If the labels are of another kind than the settings, they cannot be split, nothing is left
        to validate with, or a part has elements that the training set lacks.
    """
    expected = FIT_STAGES[labels.kind]
    if not isinstance(stage, expected):
        raise ValueError(
            f"the settings are a {type(stage).__name__}, but the labels are {labels.kind}; "
            f"expected a {expected.__name__}"
        )
    target: CouplingTarget | SpectrumTarget = (
        CouplingTarget(stage) if isinstance(stage, CouplingFitStage) else SpectrumTarget(stage)
    )
    samples = target.samples(labels.parts)
    parts = split_labels(samples.trajectories, stage.split)
    split = by_part(samples, parts)
    if "validation" not in split:
        raise ValueError(
            f"validation_fraction is {stage.split.validation_fraction}, which leaves no trajectory "
            "to validate with; expected a number above 0"
        )
    train = split["train"]
    if stage.split.labels is not None and stage.split.labels < len(train):
        kept = np.linspace(0, len(train) - 1, stage.split.labels).round().astype(int)
        split["train"] = train = train.chosen(kept)
    for part, its in split.items():
        if strange := set(its.elements) - set(train.elements):
            raise ValueError(
                f"{part} has atoms of {', '.join(chemical_symbols[z] for z in sorted(strange))}, "
                "which the training set has not; label trajectories with them, or hold out other "
                "kinds"
            )
    trajectories = {
        part: sorted(name for name, its in parts.items() if its == part) for part in split
    }
    return FitData(target, split, trajectories)
