"""Single jumps: how far the first stride from each start is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kstep_integrators import units
from kstep_integrators.diagnostics import Landings, jump_errors
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record

__all__ = ["one_jump"]


def one_jump(
    runs: Sequence[Record],
    truth: Sequence[Record],
    reference: Sequence[Record],
    method: Method,
    coordinates: Mapping[str, Any],
) -> dict[str, float | None] | None:
    """Errors of the first jump from each start, in thermal standard deviations.

    Parameters
    ----------
    runs, truth, reference : sequence of Record
        From the same starts; the truth has a fine step.
    method : Method
    coordinates : mapping
        Bonds and angles.

    Returns
    -------
    dict or None
        ``bonds`` and ``angles`` (None of molecules that have none) and ``velocities``; None if
        every run was lost, or the jump ends between two frames of the truth.
    """
    time = method.stride_fs * units.FS
    moved = [(r, t) for r, t in zip(runs, truth, strict=True) if len(r) > 1]
    places = [(round(time / r.interval), round(time / t.interval)) for r, t in moved]
    pairs = [
        (r, i, t, j)
        for (r, t), (i, j) in zip(moved, places, strict=True)
        if i < len(r) and j < len(t) and j > 0 and np.isfinite(r.momenta[i]).all()
    ]
    if not pairs or abs(pairs[0][2].time[pairs[0][3]] - time) > 1e-6:
        return None  # lost, or between two frames
    masses = reference[0].masses[:, None]
    errors = jump_errors(
        [
            Landings(
                numbers=reference[0].numbers,
                bonds=coordinates["bonds"],
                angles=coordinates["angles"],
                positions=[r.positions[i] for r, i, _, _ in pairs],
                velocities=[r.momenta[i] / masses for r, i, _, _ in pairs],
                reference_positions=[t.positions[j] for _, _, t, j in pairs],
                reference_velocities=[t.momenta[j] / masses for _, _, t, j in pairs],
                thermal_positions=np.concatenate([r.positions for r in reference]),
                thermal_velocities=np.concatenate([r.momenta / masses for r in reference]),
            )
        ]
    )
    found: dict[str, float | None] = {"velocities": errors.velocities["all"]}
    for kind, rows in (("bonds", errors.bonds), ("angles", errors.angles)):
        found[kind] = rows["all"].thermal if "all" in rows else None
    return found
