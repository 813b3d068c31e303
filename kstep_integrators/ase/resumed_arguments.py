"""Arguments with which a run goes on from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kstep_integrators.ase.checkpoint import Checkpoint
from kstep_integrators.ase.output_arguments import found_outputs
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import restore_jump
from kstep_integrators.potentials.base import Potential

__all__ = ["resumed_arguments"]

_BOOKS = ("ensemble", "exchanges", "labels")
"""Settings in a checkpoint that are no arguments."""


def resumed_arguments(
    kept: Checkpoint, path: str | Path, model: Jump | Potential | str | Path | None
) -> dict[str, Any]:
    """Model, options and outputs of a run or an ensemble, by the names of its arguments.

    Parameters
    ----------
    kept : Checkpoint
    path : str or Path
        Of the checkpoint, which the run goes on writing to.
    model : str, Path, Potential, Jump or None
        As for :meth:`kstep_integrators.KStepDynamics.resume`.

    Raises
    ------
    ValueError
        If the model is another, or cannot be had.
    """
    options = {name: getattr(kept.options, name) for name in vars(kept.options)}
    for given in ("timestep", "device") if kept.jump else ():  # the jump has them
        del options[given]
    outputs = found_outputs(kept.settings, path)
    return {
        "model": restore_jump(kept.jump, model) if kept.jump else None,
        **options,
        **{name: value for name, value in outputs.items() if name not in _BOOKS},
        "checkpoint": path,
    }
