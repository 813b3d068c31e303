"""Finished parts of a folder of labels that further ones would not go with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kstep_training.observables.labels.label_folder import ARRAYS
from kstep_training.observables.labels.parts import TrajectoryPart

__all__ = ["refuse_other_labels"]


def refuse_other_labels(
    folder: Path, kind: str, manifest: Mapping[str, Any], parts: Iterable[TrajectoryPart]
) -> None:
    """Refuse to label into a folder whose finished parts are of another make or another trajectory.

    Parameters
    ----------
    folder : Path
        Of labels.
    kind : str
        ``couplings`` or ``xanes``.
    manifest : mapping
        Of the folder.
    parts : iterable of TrajectoryPart
        That are to be labelled now.

    Raises
    ------
    ValueError
        If a finished part lacks what labels have now, or one of these parts is finished with other
        frames: it would be replaced, and parts of two trajectories become one.
    """
    waiting = {part.name: part for part in parts}
    if not waiting:
        return
    for name, report in manifest["parts"].items():
        path = folder / "parts" / f"{name}.npz"
        if report["status"] != "done" or not path.exists():
            continue
        with np.load(path, allow_pickle=False) as file:
            missing = sorted({*ARRAYS[kind]} - {*file.files, "reference_2"})
            old = name in waiting and not _continued(file, waiting[name])
        if missing:
            raise ValueError(
                f"{path} has no {', '.join(missing)}: an earlier version of kstep-integrators has "
                "made it, and what is labelled now would not go with it; label into another folder"
            )
        if old:
            raise ValueError(
                f"{path} has labels of other frames than those of {waiting[name].trajectory!r} "
                "now: of another trajectory of that name, or of one that was made again. Rename "
                "the trajectory, or label it into another folder"
            )


def _continued(labels: Mapping[str, Any], part: TrajectoryPart) -> bool:
    """True if labelled frames are frames of a part, which may have more."""
    places = {int(place): atoms for place, atoms in zip(part.places, part.frames, strict=True)}
    if not np.array_equal(labels["numbers"], part.frames[0].numbers):
        return False
    return all(
        frame in places and np.array_equal(places[frame].positions, positions)
        for frame, positions in zip(labels["frame"].tolist(), labels["positions"], strict=True)
    )
