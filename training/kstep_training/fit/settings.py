"""Settings of the stage ``fit``: the network, and the optimization of its weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from kstep_training.fit.optimization import (
    OptimizationSettings,
    at_least,
    not_negative,
    one_of,
    positive,
)
from kstep_training.keys import setting

__all__ = ["FitSettings", "FitStage", "NetworkSettings"]

_KINDS = ("flow", "direct")
_AUGMENTATIONS = ("none", "batch", "graph")


@dataclass(frozen=True)
class NetworkSettings:
    """Kind and sizes of the network.

    Raises
    ------
    ValueError
        If the kind or a size is out of its range.
    """

    kind: str = setting(
        "flow", "flow: a potential, fitted to forces; direct: increments of whole strides"
    )
    backbone: str | None = setting(
        None,
        "painn, egnn, transformer or tensor_product; null: painn for a flow, egnn for direct",
    )
    channels: int = setting(64, "features of each atom")
    layers: int = setting(2, "message-passing layers")
    radial: int = setting(16, "radial basis functions")
    cutoff: float = setting(5.0, "distance up to which atoms see each other", "angstrom")
    heads: int = setting(4, "attention heads of the backbone transformer")
    scale: float = setting(1.0, "flow: factor of the network's energies", "eV")
    baseline: str = setting(
        "verlet", "direct: what the increments are counted from, verlet or plain"
    )
    k: list[int] | None = setting(
        None, "direct: base steps of the jumps; null: those of the dataset"
    )
    bound: float = setting(5.0, "direct: limit of the increments, in standard deviations")
    force_head: bool = setting(False, "direct: whether the forces at the landing are predicted too")

    def __post_init__(self) -> None:
        one_of("kind", self.kind, _KINDS)
        one_of("baseline", self.baseline, ("verlet", "plain"))
        for name in ("channels", "layers", "radial", "heads"):
            at_least(name, getattr(self, name), 1)
        for name in ("cutoff", "scale", "bound"):
            positive(name, getattr(self, name))


@dataclass(frozen=True)
class FitSettings(OptimizationSettings):
    """Optimization. The learning rate warms up linearly and falls as a cosine over ``epochs``.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    init_from: str | None = setting(
        None, "bundled model or model file to start from; its network replaces the default one"
    )
    freeze_layers: int = setting(
        0, "how many layers keep the weights of init_from; the embedding is the first"
    )
    warmup_steps: int = setting(500, "steps of the optimizer over which the learning rate grows")
    energy_weight: float = setting(
        0.1, "flow: weight of the squared energy error per atom, against 1 for forces"
    )
    huber_delta: float = setting(0.3, "force errors beyond this count linearly", "eV/angstrom")
    increment_delta: float = setting(
        3.0, "direct: errors of increments beyond this many standard deviations count linearly"
    )
    force_weight: float = setting(
        1.0, "direct: weight of the force head's loss, against 1 for dx and dv each"
    )
    structure_weight: float = setting(
        0.0,
        "direct: weight of the errors of bonds, angles and dihedrals at the landing, in units of "
        "their variances",
    )
    penalty_weight: float = setting(
        0.0,
        "direct: weight of what these deviate from their equilibrium by more than "
        "penalty_tolerance",
    )
    penalty_tolerance: float = setting(
        3.0, "direct: the deviation from which that counts, in standard deviations"
    )
    augmentation: str = setting(
        "none", "random rotations, one for each batch, one for each graph, or none"
    )
    padding: list[int] | None = setting(
        None,
        "molecules are padded to the next of these atom counts, so that few shapes are compiled; "
        "null: 6, 9, 12, ...",
    )
    compile: bool = setting(True, "flow: whether the force is compiled")
    precision: str = setting(
        "32", "precision of the passes: 32; direct also bf16-mixed, and on a GPU 16-mixed"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("augmentation", self.augmentation, _AUGMENTATIONS)
        for name in ("freeze_layers", "warmup_steps"):
            at_least(name, getattr(self, name), 0)
        for name in (
            "energy_weight",
            "force_weight",
            "structure_weight",
            "penalty_weight",
            "penalty_tolerance",
        ):
            not_negative(name, getattr(self, name))
        for name in ("huber_delta", "increment_delta"):
            positive(name, getattr(self, name))
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

    name: str = setting("model", "name of the model file")
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
