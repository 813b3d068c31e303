"""The settings of learning in a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from kstep_integrators.arguments import path_of, positive_integer, true_or_false

__all__ = ["LabelSources", "Learning"]

LabelSources: TypeAlias = str | Path | Sequence[str | Path]
"""Files of labels: one, or several."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Settings of a run that learns its potential from its own evaluations.

    Given as ``learn`` to :class:`~kstep_integrators.KStepDynamics` or
    :class:`~kstep_integrators.Ensemble`; ``learn=True`` takes the defaults.

    Attributes
    ----------
    labels : path or sequence of paths
        Labels to start from: of earlier runs or of other codes, as ``.traj``, extxyz or NPZ.
    file : path, optional
        ASE trajectory that every label is appended to as it comes. By default
        ``NAME.labels.traj`` beside the checkpoint, or else beside the trajectory; without these,
        labels are kept in memory.
    backbone : str or Path, optional
        Model whose features are learned on. By default the model of the run itself, if it is a
        network; else the bundled model, where it knows the elements; else an untrained network.
    grow : bool
        The stride starts short, grows to k while the potential is good enough, and shrinks where
        it is not. False: strides of k from the first step on.
    refit : bool or str
        All weights are fitted to all labels in a process of their own, beside the run, and taken
        over if they win on labels that they have not seen. ``"wait"``: taken over at fixed numbers
        of labels, waiting for the process if need be, so that the path depends on the seed alone.
        It takes the extra ``train``; without, a line in the log says so.
    stop : int, optional
        Labels after which the potential is frozen. Needed where it must not change any more: under
        ``metropolize``, 200 by default. Else never.

    Raises
    ------
    TypeError, ValueError
        For values that make no sense.

    Examples
    --------
    >>> from kstep_integrators import Learning
    >>> Learning(refit=False, stop=300).stop
    300
    """

    labels: LabelSources = ()
    file: str | Path | None = None
    backbone: str | Path | None = None
    grow: bool = True
    refit: bool | str = True
    stop: int | None = None

    def __post_init__(self) -> None:
        given: Any = self.labels
        if not isinstance(given, str | os.PathLike | Sequence):
            raise TypeError(f"labels is {given!r}, expected a path or several")
        paths = (given,) if isinstance(given, str | os.PathLike) else tuple(given)
        # Absolute: a run may be resumed from another folder.
        for name, value in (
            ("labels", tuple(str(path_of("labels", path).absolute()) for path in paths)),
            ("file", None if self.file is None else str(path_of("file", self.file).absolute())),
            ("grow", true_or_false("grow", self.grow)),
        ):
            object.__setattr__(self, name, value)
        if self.backbone is not None:
            path = path_of("backbone", self.backbone)
            name = str(path.absolute() if path.is_file() else self.backbone)
            object.__setattr__(self, "backbone", name)
        if self.refit != "wait":
            if isinstance(self.refit, str):
                raise ValueError(f"refit is {self.refit!r}, expected True, False or 'wait'")
            object.__setattr__(self, "refit", true_or_false("refit", self.refit))
        if self.stop is not None:
            object.__setattr__(self, "stop", positive_integer("stop", self.stop, "labels, or None"))
