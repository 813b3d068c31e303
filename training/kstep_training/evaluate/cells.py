"""All that an evaluation says of runs in a cell, by method: curves, numbers, differences.

Numbers are coordination, self-diffusion, density and pressure, each with its error over runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from kstep_integrators.diagnostics import (
    RadialDistribution,
    mass_density,
    running_coordination,
    self_diffusion,
)
from kstep_integrators.units import GPA
from kstep_training.evaluate.cell_curves import (
    Curves,
    cell_curves,
    compare_cells,
    drawn,
    unwrapped,
)
from kstep_training.evaluate.noise import Estimate, estimate, written
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Record

__all__ = ["cell_numbers", "cell_rows", "first_minima", "pressure_difference"]

BEYOND: Final = 1.5
"""How far behind the first high peak of g(r) its minimum is looked for, in parts of it."""
WIDTH: Final = 1.2
"""From where a peak begins to rise to where its top may be, as a factor."""
FIT: Final = (0.1, 0.4)
"""Lags of the fit of a diffusion coefficient, in parts of a run."""


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


def first_minima(radial: Mapping[str, Curves]) -> dict[str, float]:
    """Distance of the lowest point behind the first high peak of each g(r), angstrom.

    A peak is high if it reaches half of the highest.

    Examples
    --------
    >>> curve = Curves(np.arange(6.0) + 0.5, np.array([[0.0, 0.0, 3.0, 0.2, 1.0, 1.0]]))
    >>> first_minima({"Ar-Ar": curve})
    {'Ar-Ar': 3.5}
    """
    found = {}
    for pair, curve in radial.items():
        rise = curve.x[int(np.argmax(curve.mean >= 0.5 * curve.mean.max()))]
        near = (curve.x >= rise) & (curve.x <= WIDTH * rise)
        peak = int(np.where(near, curve.mean, 0.0).argmax())
        behind = np.flatnonzero((curve.x > curve.x[peak]) & (curve.x <= BEYOND * curve.x[peak]))
        if len(behind) and curve.mean[peak] > 1.0:
            found[pair] = float(curve.x[behind[curve.mean[behind].argmin()]])
    return found


def cell_numbers(
    records: Sequence[Record],
    curves: Mapping[str, Mapping[str, Curves]],
    minima: Mapping[str, float],
    moving: bool,
) -> dict[str, Any]:
    """Means over runs and their errors; what a system or its physics has not is left out.

    Parameters
    ----------
    records : sequence of Record
        That came to their end.
    curves : mapping
        From :func:`~kstep_training.evaluate.cell_curves.cell_curves`.
    minima : mapping
        From :func:`first_minima` of the reference, so that all methods count alike.
    moving : bool
        Whether the runs are dynamics.

    Returns
    -------
    dict
        ``coordination`` (neighbours of each kind of atom, and the ``cutoff``, angstrom),
        ``diffusion`` of each element (angstrom^2/ps), ``density`` (g/cm^3), ``pressure`` (GPa).
    """
    row: dict[str, Any] = {
        "coordination": _coordination(records[0], curves.get("radial", {}), minima)
    }
    if moving:
        row["diffusion"] = _diffusion(records)
    if all(records[0].pbc):
        densities = [float(mass_density(r.masses, r.cell).mean()) for r in records]
        row["density"] = written(estimate(densities))
    pressures = [p for p in map(_pressure, records) if p is not None]
    if pressures:
        row["pressure"] = written(estimate(pressures))
    return row


def _coordination(
    record: Record, radial: Mapping[str, Curves], minima: Mapping[str, float]
) -> dict[str, Any]:
    volume = abs(float(np.linalg.det(record.cell if record.cell.ndim == 2 else record.cell[0])))
    rows = {}
    for pair, curve in radial.items():
        if pair not in minima:
            continue
        first, second = pair.split("-")
        for middle, around in dict.fromkeys([(first, second), (second, first)]):
            count = int((record.numbers == atomic_numbers[around]).sum()) - (middle == around)
            last = int(np.searchsorted(curve.x, minima[pair]))
            numbers = [
                float(running_coordination(RadialDistribution(curve.x, g), count / volume)[last])
                for g in curve.runs
            ]
            known = written(estimate(numbers)) or {}
            rows[f"{around} around {middle}"] = {**known, "cutoff": minima[pair]}
    return rows


def _diffusion(records: Sequence[Record]) -> dict[str, Any]:
    """Slopes of whole runs, whose mean has an error because runs are independent."""
    paths = [path for path in map(unwrapped, records) if path is not None]
    if len(paths) < 2 or len(paths) < len(records):
        return {}
    length, interval = min(len(x) for x, _ in paths), paths[0][1]
    size = paths[0][0].shape[2]
    whole = np.zeros((len(paths), length, len(records[0].numbers), 3))
    whole[..., :size] = np.stack([x[:length] for x, _ in paths])
    start, end = (part * (length - 1) * interval for part in FIT)
    rows = {}
    for element in np.unique(records[0].numbers):
        chosen = (records[0].numbers == element) & ~records[0].fixed
        if not chosen.any() or end - start < 2.0 * interval:
            continue
        found = self_diffusion(
            whole[:, :, chosen], interval, start, end, blocks=1, axes=tuple(range(size))
        )
        known = Estimate(found.coefficient, found.error, found.blocks)
        rows[chemical_symbols[element]] = written(known)
    return rows


def _pressure(record: Record) -> float | None:
    """Mean over the landings that fresh calculators have computed again, GPa."""
    known = (record.facts.get("spot") or {}).get("pressure")
    return float(np.mean(known)) / GPA if known else None


def pressure_difference(
    records: Sequence[Record], reference: Sequence[Record], paired: bool
) -> dict[str, Any] | None:
    """Pressure less that of the reference, GPa, start by start if paired; None without."""
    mine, other = (
        [_pressure(r) if r.whole else None for r in part] for part in (records, reference)
    )
    if paired:
        both = [(a, b) for a, b in zip(mine, other, strict=True) if a is not None and b is not None]
        return written(estimate([a - b for a, b in both]))
    first, second = (estimate([p for p in part if p is not None]) for part in (mine, other))
    if first is None or second is None:
        return None
    error = math.hypot(first.error, second.error)
    return written(Estimate(first.mean - second.mean, error, min(first.count, second.count)))
