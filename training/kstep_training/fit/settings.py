"""What a fit can be told: the network, and how its weights are found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["FitSettings", "FitStage", "NetworkSettings"]

_KINDS = ("flow", "direct")
_PRECISIONS = ("32", "bf16-mixed", "16-mixed")
_AUGMENTATIONS = ("none", "batch", "graph")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}, expected at least {least}")


def _not_negative(name: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, expected a number from 0")


@dataclass(frozen=True)
class NetworkSettings:
    """Kind and sizes of the network.

    Raises
    ------
    ValueError
        If the kind or a size is out of its range.
    """

    kind: str = "flow"
    """``flow``: a potential, :class:`kstep_integrators.nn.energy.network.EnergyNetwork`;
    ``direct``: :class:`kstep_integrators.nn.increments.network.IncrementNetwork`."""
    backbone: str | None = None
    """Null: ``painn`` for a flow, ``egnn`` for increments."""
    channels: int = 64
    layers: int = 2
    radial: int = 16
    cutoff: float = 5.0
    """Angstrom."""
    heads: int = 4
    """Of the attention of the backbone ``transformer``."""
    scale: float = 1.0
    """Flow: eV, by which what the network says is multiplied."""
    baseline: str = "verlet"
    """Direct: what the increments are counted from, ``verlet`` or ``plain``."""
    strides: list[int] | None = None
    """Direct: base steps of the jumps; null takes those of the dataset."""
    bound: float = 5.0
    """Direct: limit of the increments, in standard deviations."""
    force_head: bool = False
    """Direct: whether the forces at the landing are predicted too."""

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, _KINDS)
        _one_of("baseline", self.baseline, ("verlet", "plain"))
        for name in ("channels", "layers", "radial", "heads"):
            _at_least(name, getattr(self, name), 1)
        for name in ("cutoff", "scale", "bound"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")


@dataclass(frozen=True)
class FitSettings:
    """Optimization. The learning rate warms up linearly and falls as a cosine over ``epochs``.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    init_from: str | None = None
    """A bundled model or a model file to start from; its network replaces the default one."""
    freeze_layers: int = 0
    """How many layers keep the weights of ``init_from``; the embedding is the first."""
    batch_size: int = 32
    """On each device."""
    accumulate: int = 1
    """Batches for one step of the optimizer."""
    epochs: int = 60
    patience: int | None = None
    """Stop after this many epochs without a better validation error, and keep the best weights.
    Null: the last ones."""
    learning_rate: float = 2.0e-3
    final_learning_rate: float = 1.0e-5
    warmup_steps: int = 500
    weight_decay: float = 0.0
    gradient_clip: float = 10.0
    ema_decay: float = 0.999
    energy_weight: float = 0.1
    """Flow: weight of the squared energy error per atom, against a force weight of 1."""
    huber_delta: float = 0.3
    """Force errors beyond this (eV/angstrom) count linearly."""
    increment_delta: float = 3.0
    """Direct: errors of increments beyond this many standard deviations count linearly."""
    force_weight: float = 1.0
    """Direct: weight of the force head's loss, against 1 for dx and dv each."""
    structure_weight: float = 0.0
    """Direct: weight of the errors of bonds, angles and dihedrals at the landing, in units of
    their variances."""
    penalty_weight: float = 0.0
    """Direct: weight of what these deviate from their equilibrium by more than
    ``penalty_tolerance`` standard deviations."""
    penalty_tolerance: float = 3.0
    augmentation: str = "none"
    """Random rotations, one for each ``batch``, one for each ``graph``, or ``none``."""
    padding: list[int] | None = None
    """Molecules are padded to the next of these atom counts, so that few shapes are compiled.
    Null: 6, 9, 12, ..."""
    compile: bool = True
    """Flow: whether the force is compiled."""
    precision: str = "32"
    """``32``; direct also ``bf16-mixed``, and on a GPU ``16-mixed``."""
    devices: int = 1
    """More than one: data-parallel, one process for each."""
    loader_workers: int = 0
    """Processes that read batches ahead."""
    wandb: str | None = None
    """Project of Weights & Biases that the curves are sent to as well."""
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, _PRECISIONS)
        _one_of("augmentation", self.augmentation, _AUGMENTATIONS)
        for name in ("batch_size", "accumulate", "epochs", "patience", "devices"):
            _at_least(name, getattr(self, name), 1)
        for name in ("freeze_layers", "warmup_steps", "loader_workers", "seed"):
            _at_least(name, getattr(self, name), 0)
        for name in (
            "weight_decay",
            "energy_weight",
            "force_weight",
            "structure_weight",
            "penalty_weight",
            "penalty_tolerance",
        ):
            _not_negative(name, getattr(self, name))
        for name in ("learning_rate", "gradient_clip", "huber_delta", "increment_delta"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0.0 <= self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                f"final_learning_rate is {self.final_learning_rate}, expected 0 to learning_rate "
                f"({self.learning_rate})"
            )
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected 0 <= ema_decay < 1")
        if self.freeze_layers and self.init_from is None:
            raise ValueError(
                f"freeze_layers is {self.freeze_layers}, but there is no init_from whose weights "
                "could be kept"
            )


@dataclass(frozen=True)
class FitStage:
    """All settings of the stage ``fit``.

    Raises
    ------
    ValueError
        If a setting does not go with the kind of network.
    """

    name: str = "model"
    """Of the model file."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        if self.network.kind == "flow":
            if self.fit.precision != "32":
                raise ValueError(
                    f"fit.precision is {self.fit.precision!r}, but the forces of a flow are "
                    "derivatives of its energy, and half precision moves that of the bundled "
                    "model by 3 meV/atom; use 32"
                )
            for name in ("structure_weight", "penalty_weight"):
                if getattr(self.fit, name) != getattr(FitSettings, name):
                    raise ValueError(
                        f"fit.{name} is {getattr(self.fit, name)!r}, which is for "
                        "network.kind=direct; leave it out for a flow"
                    )
