"""The options of a run as JSON, which checkpoints keep, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep_integrators.correctors import CORRECTORS, restore_corrector
from kstep_integrators.learning.settings import Learning
from kstep_integrators.step.guard import Guard
from kstep_integrators.step.tuning import StrideTuning

if TYPE_CHECKING:
    from kstep_integrators.step.options import RunOptions

__all__ = ["options_from_json", "options_to_json"]


def options_to_json(options: RunOptions) -> dict[str, Any]:
    """The options as a checkpoint keeps them.

    Raises
    ------
    ValueError
        If a resumed run could not have them: a corrector or guard of the user's own class.
    """
    corrector, guard = options.corrector, options.guard
    if (
        corrector is not None
        and not isinstance(corrector, str)
        and type(corrector) not in CORRECTORS.values()
    ):
        raise ValueError(
            f"the corrector is a {type(corrector).__name__}, and a checkpoint keeps only those "
            "of kstep_integrators.correctors; leave checkpoint out"
        )
    if guard is not None and type(guard) is not Guard:
        raise ValueError(
            f"the guard is a {type(guard).__name__}, and a checkpoint keeps only a Guard; "
            "pass one of these, or leave checkpoint out"
        )
    kept = {option.name: getattr(options, option.name) for option in dataclasses.fields(options)}
    if corrector is not None and not isinstance(corrector, str):
        kept["corrector"] = corrector.describe()
    for name in ("k", "guard", "learn"):
        if dataclasses.is_dataclass(kept[name]):
            kept[name] = dataclasses.asdict(kept[name])
    for name in ("file", "backbone"):
        if options.learning is not None and isinstance(kept["learn"][name], Path):
            kept["learn"][name] = str(kept["learn"][name].absolute())
    return kept


def options_from_json(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the options that :func:`options_to_json` was called on."""
    values = dict(kept)
    if isinstance(values["k"], dict):
        values["k"] = StrideTuning(tuple(values["k"]["candidates"]), values["k"]["jumps"])
    if isinstance(values["corrector"], dict):
        values["corrector"] = restore_corrector(values["corrector"])
    if values["guard"] is not None:
        values["guard"] = Guard(**values["guard"])
    if isinstance(values["learn"], dict):
        values["learn"] = Learning(**values["learn"])
    return values
