"""Settings that all kinds of labels have in common: which frames, and in how large parts."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_training.keys import setting

__all__ = ["LabelSettings"]


@dataclass(frozen=True)
class LabelSettings:
    """Frames of trajectories that are labelled.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> LabelSettings(stride=10, frames=100).part_frames
    25
    """

    first: int = setting(0, "frame of each trajectory that is labelled first, from 0")
    stride: int = setting(1, "frames from one that is labelled to the next")
    frames: int | None = setting(None, "labelled frames of each trajectory at most; null: all")
    part_frames: int = setting(25, "labelled frames of a part, which one worker makes as a whole")
    interval_fs: float | None = setting(
        None, "time between two frames of a file that does not say it; null: not known", "fs"
    )

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(f"first is {self.first}, expected a whole number from 0")
        for name in ("stride", "frames", "part_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if self.interval_fs is not None and not 0.0 < self.interval_fs < float("inf"):
            raise ValueError(f"interval_fs is {self.interval_fs}, expected a positive number")
