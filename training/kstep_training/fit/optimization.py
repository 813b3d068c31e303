"""The settings that every fit has, and the checks of settings of fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kstep_training.keys import setting

__all__ = ["OptimizationSettings", "at_least", "not_negative", "one_of", "positive"]

_PRECISIONS = ("32", "bf16-mixed", "16-mixed")


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Check a word against those that are known.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def at_least(name: str, value: int | None, least: int) -> None:
    """Check a whole number that has a smallest value, if it is given.

    Raises
    ------
    ValueError
        If it is smaller.
    """
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}, expected at least {least}")


def not_negative(name: str, value: float) -> None:
    """Check a number that is finite and not negative.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, expected a number from 0")


def positive(name: str, value: float) -> None:
    """Check a number that is finite and positive.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} is {value}, expected a positive number")


@dataclass(frozen=True)
class OptimizationSettings:
    """Settings that every fit has, of whatever is fitted.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    batch_size: int = setting(32, "frames or windows of a batch, on each device")
    accumulate: int = setting(1, "batches for one step of the optimizer")
    epochs: int = setting(60, "passes over the data")
    patience: int | None = setting(
        None,
        "stop after this many epochs without a better validation error, and keep the best weights; "
        "null: the last ones",
    )
    learning_rate: float = setting(2.0e-3, "learning rate after the warm-up (AdamW)")
    final_learning_rate: float = setting(
        1.0e-5, "learning rate at the end, reached along half a cosine"
    )
    weight_decay: float = setting(0.0, "weight decay of AdamW")
    gradient_clip: float = setting(10.0, "largest norm of a gradient")
    ema_decay: float = setting(
        0.999, "decay of the averaged weights, which are validated and written; 0: the last weights"
    )
    precision: str = setting("32", "precision of the passes: 32, bf16-mixed, on a GPU 16-mixed")
    devices: int = setting(1, "devices to fit on, one process for each")
    loader_workers: int = setting(0, "processes that read batches ahead")
    wandb: str | None = setting(
        None, "project of Weights & Biases that the curves are sent to as well"
    )
    seed: int = setting(0, "seed of weights, shuffling and rotations")

    def __post_init__(self) -> None:
        one_of("precision", self.precision, _PRECISIONS)
        for name in ("batch_size", "accumulate", "epochs", "patience", "devices"):
            at_least(name, getattr(self, name), 1)
        for name in ("loader_workers", "seed"):
            at_least(name, getattr(self, name), 0)
        not_negative("weight_decay", self.weight_decay)
        for name in ("learning_rate", "gradient_clip"):
            positive(name, getattr(self, name))
        if not 0.0 <= self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                f"final_learning_rate is {self.final_learning_rate}, expected 0 to learning_rate "
                f"({self.learning_rate})"
            )
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected 0 <= ema_decay < 1")
