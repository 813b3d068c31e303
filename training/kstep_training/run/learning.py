"""Learning in a run: its keys, what equilibration hands on to the run, and the record of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kstep_integrators import AdaptedPotential, Learning
from kstep_integrators.ase.checkpoint import Checkpoint
from kstep_integrators.files import write_text_atomically
from kstep_integrators.learning.lessons import Grade
from kstep_integrators.models.model_file import read_model, write_model
from kstep_integrators.potentials import NetworkPotential, Potential, SumPotential
from kstep_integrators.step.pace import begin_pace
from kstep_integrators.units import MEV
from kstep_training.keys import setting

__all__ = [
    "LearningSettings",
    "base_of",
    "blocks_of",
    "learning_after",
    "save_learned",
    "strides_of",
    "write_learning",
]

_STRIDE = re.compile(r"^# step (\d+): (?:.*, )?k = (\d+) ")
"""A line of a log that says from which step on which stride is made."""


@dataclass(frozen=True)
class LearningSettings:
    """The keys of :class:`~kstep_integrators.Learning`, for a command.

    Examples
    --------
    >>> LearningSettings(refit="wait", stop=300).options().refit
    'wait'
    """

    labels: list[str] = setting(
        [], "files of labels to start from, of earlier runs or of other codes: .traj, extxyz, NPZ"
    )
    file: str | None = setting(
        None, "trajectory that keeps the labels of the run; null: run.labels.traj in its folder"
    )
    backbone: str | None = setting(
        None,
        "model whose features are learned on, for a MODEL that is no network; null: the bundled "
        "one where it knows the elements, else an untrained one",
    )
    grow: bool = setting(
        True, "the stride starts short and grows to k as the potential gets better"
    )
    refit: bool | str = setting(
        True,
        "fit all weights to all labels beside the run: true, false, or wait: at fixed numbers of "
        "labels, waiting if need be, so that the path depends on the seed alone",
    )
    stop: int | None = setting(
        None,
        "labels, those of the equilibration included, after which the potential is frozen; null: "
        "never, or 200 under metropolize",
    )

    def options(self) -> Learning:
        """The settings as a run takes them.

        Raises
        ------
        TypeError, ValueError
            For values that make no sense.
        """
        return Learning(
            labels=tuple(self.labels),
            file=self.file,
            backbone=self.backbone,
            grow=self.grow,
            refit=self.refit,
            stop=self.stop,
        )


def base_of(potential: Potential | None) -> Potential | None:
    """What the learned part of a run stands beside; None if it is part of a network, or alone."""
    if isinstance(potential, SumPotential):
        return potential.parts[0][0]
    return None if isinstance(potential, NetworkPotential) else potential


def learning_after(learning: Learning, before: Checkpoint, labels: Path) -> dict[str, Any]:
    """Options of a run that goes on with what an equilibration has learned.

    Parameters
    ----------
    learning : Learning
        Of the whole run.
    before : Checkpoint
        The end of the equilibration.
    labels : Path
        Those of the equilibration, which refits of the run are fitted to as well.

    Returns
    -------
    dict
        ``learn``; and of a potential that is frozen, the stride that it has come to as ``k``.
    """
    lessons = before.run.lessons
    if lessons is None or not lessons.learning:
        return {"learn": False, "k": before.run.next_k}
    given: Any = learning.labels
    return {"learn": replace(learning, labels=(labels, *given), backbone=None)}


def save_learned(potential: Potential, equilibrated: Path, path: Path) -> None:
    """Write the model file of a run: of its own potential, or if it was frozen, the one before.

    Parameters
    ----------
    potential : Potential
        At the end of the run.
    equilibrated : Path
        Model file of its equilibration.
    path : Path
    """
    if isinstance(potential, AdaptedPotential):
        potential.save(path)
        return
    network, header, _ = read_model(equilibrated)
    write_model(path, network, replace(header, name=path.stem))


def strides_of(log: Path, first: int) -> list[list[int]]:
    """From which step on a run made which strides, as its log says.

    Parameters
    ----------
    log : Path
    first : int
        Base steps of the first stride.

    Returns
    -------
    list of [int, int]
        Step and base steps.
    """
    found = map(_STRIDE.match, log.read_text().splitlines() if log.exists() else ())
    return [[0, first], *([int(line[1]), int(line[2])] for line in found if line is not None)]


def blocks_of(grades: Sequence[Grade]) -> list[dict[str, Any]]:
    """Residuals of the blocks of labels before they were learned, meV/angstrom, for JSON."""
    return [
        {
            "labels": grade.labels,
            "count": grade.count,
            "step": grade.step,
            **{
                f"{name}_meV_per_A": value / MEV if math.isfinite(value) else None
                for name, value in asdict(grade).items()
                if name in ("residual", "of_base", "predicted")
            },
        }
        for grade in grades
    ]


def write_learning(folder: Path, parts: dict[str, Checkpoint], timestep: float) -> dict[str, Any]:
    """Write ``learning.json``, and return its numbers in short.

    Parameters
    ----------
    folder : Path
        Of the run.
    parts : dict of str to Checkpoint
        ``equilibration`` and ``run``, as far as they have come; those that did not learn are left
        out.
    timestep : float
        Base step, ASE time units.

    Returns
    -------
    dict
        Labels, the refit in use, first and last residual, and where the potential was frozen.
    """
    whole: dict[str, Any] = {}
    for name, part in parts.items():
        lessons = part.run.lessons
        if lessons is None:
            continue
        learning, grades = part.options.learning or Learning(), lessons.grades
        given = grades[0].count if learning.labels and grades else 0
        first = begin_pace(part.options.first_k, timestep, learning.grow).k
        whole[name] = {
            "given": given,
            "labels": lessons.labels - given,
            "refits": lessons.refits_begun,
            "refit_taken": lessons.refit_taken or None,
            "frozen_at": lessons.frozen_at,
            # Given labels are learned at once, and nothing tells how well they were known.
            "blocks": blocks_of(grades[1:] if given else grades),
            "k": strides_of(folder / f"{name}.log", first),
        }
    write_text_atomically(folder / "learning.json", json.dumps(whole, indent=1) + "\n")
    blocks = [block for part in whole.values() for block in part["blocks"]]
    known = [block for block in blocks if block["residual_meV_per_A"] is not None]
    frozen = [
        f"{name} {part['frozen_at']}"
        for name, part in whole.items()
        if part["frozen_at"] is not None
    ]
    return {
        "labels": sum(part["labels"] for part in whole.values()),
        "first_residual_meV_per_A": known[0]["residual_meV_per_A"] if known else None,
        "last_residual_meV_per_A": known[-1]["residual_meV_per_A"] if known else None,
        "refit_taken": [part["refit_taken"] for part in whole.values()][-1] if whole else None,
        "frozen_at_step": frozen[0] if frozen else None,
        "k_at_end": [part["k"][-1][1] for part in whole.values()][-1] if whole else None,
    }
