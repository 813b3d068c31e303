"""Settings of fits to labels: the optimization, the networks, and the stages made of both."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_training.fit.optimization import (
    OptimizationSettings,
    not_negative,
    positive,
)
from kstep_training.keys import setting

__all__ = ["CouplingFitSettings", "GraphFitSettings", "SpectrumFitSettings"]


@dataclass(frozen=True)
class GraphFitSettings(OptimizationSettings):
    """Optimization in one cycle of the learning rate, with augmentation of the graphs.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> GraphFitSettings(epochs=5).jitter
    0.01
    """

    batch_size: int = setting(16, "structures of a batch, on each device")
    epochs: int = setting(100, "passes over the data")
    patience: int | None = setting(
        40,
        "stop after this many epochs without a better validation error, and keep the best weights; "
        "null: the last ones",
    )
    learning_rate: float = setting(3.0e-3, "largest learning rate of the cycle (AdamW)")
    final_learning_rate: float = setting(1.0e-6, "learning rate at the end of the cycle")
    rise: float = setting(
        0.2, "part of the cycle in which the learning rate grows, from a 25th of the largest"
    )
    jitter: float = setting(
        0.01, "standard deviation of what is added to each coordinate in training", "angstrom"
    )
    rotate: bool = setting(
        True, "whether structures are turned and reflected at random in training"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("jitter", self.jitter)
        if not 0.0 < self.rise < 1.0:
            raise ValueError(f"rise is {self.rise}, expected 0 < rise < 1")


@dataclass(frozen=True)
class CouplingFitSettings(GraphFitSettings):
    """Optimization of a correction to couplings.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> CouplingFitSettings().distance_scale
    4.0
    """

    distance_scale: float = setting(
        4.0,
        "the weight of an error grows by a factor e over this distance of the molecules, because "
        "couplings of distant ones are small; 0: all weigh the same",
        "angstrom",
    )
    smallest_meV: float = setting(
        1.0, "couplings below this do not count in the mean percentage error", "meV"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("distance_scale", self.distance_scale)
        positive("smallest_meV", self.smallest_meV)


@dataclass(frozen=True)
class SpectrumFitSettings(GraphFitSettings):
    """Optimization of spectra.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> SpectrumFitSettings().derivative_weight
    0.3
    """

    learning_rate: float = setting(2.0e-3, "largest learning rate of the cycle (AdamW)")
    jitter: float = setting(
        0.0,
        "standard deviation of what is added to each coordinate in training; lines move by a tenth "
        "of an eV over 0.01 angstrom",
        "angstrom",
    )
    derivative_weight: float = setting(
        0.3, "weight of the squared error of the first derivative, against 1 for the spectrum"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("derivative_weight", self.derivative_weight)
