"""The arguments of a run as a checkpoint keeps them: this is the one place that lists them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO, Any

from kstep_integrators.arguments import positive_integer
from kstep_integrators.correctors import CORRECTORS, restore_corrector
from kstep_integrators.step.guard import Guard
from kstep_integrators.step.method import Method
from kstep_integrators.step.tuning import StrideTuning

__all__ = ["check_interval", "record_settings", "restore_settings"]


def check_interval(checkpoint: str | Path | None, interval: object) -> int:
    """How many steps there are between checkpoints: 100, if nothing is said.

    Raises
    ------
    ValueError
        If it is not a positive integer, or there is no checkpoint to write.
    """
    if interval is None:
        return 100
    checked = positive_integer("checkpoint_interval", interval, "steps between two checkpoints")
    if checkpoint is None:
        raise ValueError(
            f"checkpoint_interval={interval} without a checkpoint: pass checkpoint='run.ckpt' too"
        )
    return checked


def record_settings(
    method: Method,
    *,
    trajectory: Any,
    logfile: IO[str] | str | Path | None,
    loginterval: int,
    checkpoint_interval: int,
) -> dict[str, Any]:
    """The settings of a run as JSON, but for its jump and its noise.

    Parameters
    ----------
    method : Method
    trajectory, logfile, loginterval, checkpoint_interval
        As in :class:`kstep_integrators.KStepDynamics`.

    Raises
    ------
    ValueError
        If a resumed run could not have them: an open file, or a corrector or guard of the user's.
    """
    corrector, control, metropolis = method.corrector, method.control, method.metropolis
    if type(corrector) is not CORRECTORS[corrector.name]:
        raise ValueError(
            f"the corrector is a {type(corrector).__name__}, and a checkpoint keeps only those of "
            "kstep_integrators.correctors; leave checkpoint out"
        )
    if type(control.guard) is not Guard:
        raise ValueError(
            f"the guard is a {type(control.guard).__name__}, and a checkpoint keeps only a Guard; "
            "pass one of these, or leave checkpoint out"
        )
    for name, output in (("trajectory", trajectory), ("logfile", logfile)):
        if not isinstance(output, str | Path | None):
            raise ValueError(
                f"{name} is an open {type(output).__name__}, which a resumed run could not cut "
                "back to the checkpoint; pass its path, or leave checkpoint out"
            )
    return {
        "k": method.k if method.tuning is None else dataclasses.asdict(method.tuning),
        "corrector": corrector.describe(),
        **method.thermostat.describe(),
        **({} if metropolis is None else {"metropolize": True, **dataclasses.asdict(metropolis)}),
        **dataclasses.asdict(control),
        "trajectory": None if trajectory is None else str(trajectory),
        "logfile": None if logfile is None else str(logfile),
        "loginterval": loginterval,
        "checkpoint_interval": checkpoint_interval,
    }


def restore_settings(recorded: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of :class:`kstep_integrators.KStepDynamics` that give the same run."""
    k = recorded["k"]
    if not isinstance(k, int):
        k = StrideTuning(tuple(k["candidates"]), k["jumps"])
    return {
        **recorded,
        "k": k,
        "corrector": restore_corrector(recorded["corrector"]),
        "guard": Guard(**recorded["guard"]),
    }
