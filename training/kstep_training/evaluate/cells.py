"""All that an evaluation says of runs in a cell, by method: curves, numbers, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kstep_training.evaluate.cell_curves import Curves, cell_curves, compare_cells, drawn
from kstep_training.evaluate.cell_numbers import cell_numbers, first_minima, pressure_difference
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Record

__all__ = ["cell_rows"]


def cell_rows(
    records: Mapping[str, Sequence[Record]], methods: Sequence[Method], burn_in: float
) -> dict[str, dict[str, Any]]:
    """What is said of each method in a cell; nothing of isolated molecules.

    Parameters
    ----------
    records : mapping of str to sequence of Record
        By the name of the method.
    methods : sequence of Method
    burn_in : float
        Part of a run at constant temperature that is left out at its beginning.

    Returns
    -------
    dict of str to dict
        By the name of the method: ``radial``, ``displacement`` and ``profile`` compared with the
        reference; ``cell``, numbers; ``curves`` to be drawn; ``pressure_difference``.
    """
    curves: dict[str, dict[str, dict[str, Curves]]] = {}
    whole: dict[str, list[Record]] = {}
    origin = {"dynamics": REFERENCE, "ensemble": THERMAL}
    shown = [m for m in methods if m.name in records and m.kind != "ballistic" and m.name != TRUTH]
    for method in shown:
        reference = records.get(origin[method.part], records[method.name])
        if not any(reference[0].pbc):
            continue
        whole[method.name] = [r for r in records[method.name] if r.whole]
        moving = method.part == "dynamics"
        skip = 0.0 if moving else burn_in
        curves[method.name] = cell_curves(whole[method.name], moving, skip, reference[0])
    rows: dict[str, dict[str, Any]] = {}
    for method in shown:
        mine = curves.get(method.name)
        if not mine:
            continue
        moving, base = method.part == "dynamics", origin[method.part]
        theirs = curves.get(base) or mine
        minima = first_minima(theirs.get("radial", {}))
        rows[method.name] = {
            "cell": cell_numbers(whole[method.name], mine, minima, moving),
            "curves": drawn(mine),
        }
        if method.name == base or base not in curves:
            continue
        rows[method.name] |= compare_cells(mine, theirs)
        # Starts are those of the reference; noise at constant temperature is another.
        paired = moving and method.kind != "outside"
        apart = pressure_difference(records[method.name], records[base], paired)
        if apart is not None:
            rows[method.name]["pressure_difference"] = apart
    return rows
