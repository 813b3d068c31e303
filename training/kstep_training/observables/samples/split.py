"""Parts of labelled frames: by trajectory and by kind, never by frame.

Frames of one trajectory are correlated, so a part gets whole trajectories; and what a network does
for a dimer or a molecule that it has never seen is asked of kinds that are held out altogether.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kstep_training.keys import nearest, setting

__all__ = ["PARTS", "SplitSettings", "split_labels"]

PARTS = ("train", "validation", "test", "held_out")


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the trajectories in training, validation and test.

    Raises
    ------
    ValueError
        If fractions are out of their range.

    Examples
    --------
    >>> SplitSettings(held_out=["C2H4+C4H4S"]).test_fraction
    0.15
    """

    validation_fraction: float = setting(
        0.15, "of the trajectories of each kind, for validation; one at least, unless 0"
    )
    test_fraction: float = setting(
        0.15, "of the trajectories of each kind, for the test; one at least, unless 0"
    )
    held_out: list[str] = setting([], "kinds that are not trained on at all, such as [C2H4+C4H4S]")
    seed: int = setting(0, "seed of which trajectories are taken")
    labels: int | None = setting(
        None, "labels to train on at most, spread evenly over the training set; null: all"
    )

    def __post_init__(self) -> None:
        validation, test = self.validation_fraction, self.test_fraction
        for name, value in (("validation_fraction", validation), ("test_fraction", test)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} is {value}, expected 0 <= {name} < 1")
        if self.labels is not None and self.labels < 1:
            raise ValueError(f"labels is {self.labels}, expected at least 1")
        if validation + test >= 1.0:
            raise ValueError(
                f"validation_fraction and test_fraction are {validation} and {test}, which leaves "
                "nothing to train on; expected a sum below 1"
            )


def split_labels(trajectories: Mapping[str, str], settings: SplitSettings) -> dict[str, str]:
    """The part of each trajectory.

    Parameters
    ----------
    trajectories : mapping of str to str
        Name of the trajectory to its kind: the dimer or the molecule.
    settings : SplitSettings

    Returns
    -------
    dict of str to str
        One of :data:`PARTS` for each trajectory. Which ones are taken for validation and test
        depends on the seed and their names, not on their order.

    Raises
    ------
    ValueError
        If a kind that is held out does not exist, no kind is left to train on, or a kind has too
        few trajectories.

    Examples
    --------
    >>> parts = split_labels({f"run-{i}": "C2H4" for i in range(8)}, SplitSettings())
    >>> sorted(parts.values())
    ['test', 'train', 'train', 'train', 'train', 'train', 'train', 'validation']
    """
    kinds = sorted(set(trajectories.values()))
    for kind in settings.held_out:
        if kind not in kinds:
            raise ValueError(
                f"held_out lists {kind!r}, but there is no trajectory of that kind; did you mean "
                f"{nearest(kind, kinds)!r}?"
            )
    if not set(kinds) - set(settings.held_out):
        raise ValueError(
            f"held_out lists all kinds that there are ({', '.join(kinds)}); leave one to train on"
        )
    parts = {}
    for kind in kinds:
        names = sorted(
            (name for name, its in trajectories.items() if its == kind),
            key=lambda name: hashlib.sha256(f"{settings.seed}:{name}".encode()).digest(),
        )
        if kind in settings.held_out:
            parts.update(dict.fromkeys(names, "held_out"))
            continue
        validation = _share(settings.validation_fraction, len(names))
        test = _share(settings.test_fraction, len(names))
        if validation + test >= len(names):
            raise ValueError(
                f"{kind} has {len(names)} trajectories, expected at least {validation + test + 1}: "
                f"{validation} for validation, {test} for the test, and one to train on; label "
                "more trajectories, hold the kind out, or set a fraction to 0"
            )
        parts.update(dict.fromkeys(names, "train"))
        parts.update(dict.fromkeys(names[:validation], "validation"))
        parts.update(dict.fromkeys(names[validation : validation + test], "test"))
    return parts


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count)) if fraction > 0.0 else 0
