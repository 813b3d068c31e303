"""Settings of a refit, and the rules by which the number of labels sets what is left open."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_integrators.arguments import check_device
from kstep_integrators.nn.energy.compiled_forces import have_compiler
from kstep_training.fit.settings import FitSettings
from kstep_training.keys import setting

__all__ = ["RefitSettings", "epochs_for", "fit_settings", "validation_count"]


@dataclass(frozen=True)
class RefitSettings:
    """What a refit is made with; the number of labels decides what is null.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    validation_labels: int | None = setting(
        None, "last labels that validate and are not fitted; null: a tenth, 20 at most"
    )
    epochs: int | None = setting(
        None, "passes over the labels; null: 100, from 300 labels on fewer, for as many steps"
    )
    batch_size: int = setting(5, "labels of a batch")
    learning_rate: float = setting(2.0e-3, "learning rate after the warm-up (AdamW)")
    final_learning_rate: float = setting(
        1.0e-5, "learning rate at the end, reached along half a cosine"
    )
    warmup_steps: int = setting(20, "steps of the optimizer over which the learning rate grows")
    ema_decay: float = setting(0.999, "decay of the averaged weights, which are the result")
    energy_weight: float = setting(
        0.1, "weight of the squared energy error per atom, against 1 for forces"
    )
    compile: bool | None = setting(
        None, "whether the force is compiled; null: where there is a compiler"
    )
    device: str = setting("auto", "auto takes a GPU where there is one")
    threads: int = setting(1, "threads on the CPU")
    seed: int = setting(0, "seed of the shuffling")

    def __post_init__(self) -> None:
        check_device(self.device)
        for name in ("validation_labels", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        fit_settings(self, 2)  # which checks the others


def validation_count(settings: RefitSettings, labels: int) -> int:
    """Number of labels, of all, that validate.

    Raises
    ------
    ValueError
        If none is left to fit.

    Examples
    --------
    >>> [validation_count(RefitSettings(), labels) for labels in (2, 60, 300)]
    [1, 6, 20]
    """
    count = settings.validation_labels or min(20, max(1, labels // 10))
    if count >= labels:
        raise ValueError(
            f"there are {labels} labels with forces and {count} of them validate; a refit needs "
            "one more at least"
        )
    return count


def epochs_for(labels: int) -> int:
    """Passes over so many labels if the settings leave them open.

    A step of five molecules of twelve atoms, compiled, takes some 25 ms of one core with all that
    goes with it: a minute for 100 labels, two and a half for 300 and for more.

    Examples
    --------
    >>> [epochs_for(labels) for labels in (10, 100, 300, 500, 10000)]
    [100, 100, 100, 60, 3]
    """
    return min(100, max(1, 30_000 // labels))


def fit_settings(settings: RefitSettings, labels: int) -> FitSettings:
    """Settings of the optimization of so many labels that are fitted."""
    s = settings
    return FitSettings(
        batch_size=s.batch_size,
        epochs=epochs_for(labels) if s.epochs is None else s.epochs,
        learning_rate=s.learning_rate,
        final_learning_rate=s.final_learning_rate,
        warmup_steps=s.warmup_steps,
        ema_decay=s.ema_decay,
        energy_weight=s.energy_weight,
        compile=have_compiler() if s.compile is None else s.compile,
        seed=s.seed,
    )
