"""Evaluation of trajectories made elsewhere, against references made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from kstep_integrators.units import FS, PS
from kstep_training.evaluate.cell_figures import cell_pictures
from kstep_training.evaluate.cells import cell_rows
from kstep_training.evaluate.counting import compare_reports
from kstep_training.evaluate.distribution_figures import distributions
from kstep_training.evaluate.energy_and_spectra import (
    compare_spectra,
    difference_of_temperatures,
    drift_and_fluctuation,
    run_spectra,
    vacf_deviation,
)
from kstep_training.evaluate.figures import energies, spectra
from kstep_training.evaluate.frames import read_trajectory
from kstep_training.evaluate.metrics import described
from kstep_training.evaluate.noise import block_records, independence
from kstep_training.evaluate.page import Picture, write_html
from kstep_training.evaluate.plan import REFERENCE, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.report import build_report, write_json
from kstep_training.evaluate.screen import print_summary
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.structure import (
    compare_shapes,
    coordinates_of,
    find_broken,
    flips,
    shape_values,
)
from kstep_training.options import override

__all__ = ["outside_metrics", "run_outside"]

NAME = "trajectory"
AT_REST = 1e-3
"""Total momentum over the root of the sum of squares below which it counts as conserved."""


def outside_metrics(
    runs: Sequence[Record], reference: Sequence[Record], settings: EvaluateSettings
) -> dict[str, Any]:
    """Metrics of some trajectories and of their reference, like those of a molecule.

    Fewer than eight runs on a side are cut into as many blocks.

    Raises
    ------
    ValueError
        If they have different atoms.
    """
    for record in (*runs, *reference):
        if not np.array_equal(record.numbers, reference[0].numbers):
            raise ValueError(
                f"{record.facts['source']} has other atoms than {reference[0].facts['source']}; "
                "compare trajectories of one system, its atoms in one order"
            )
    coordinates = coordinates_of(reference[0])
    methods: dict[str, Any] = {}
    blocks = {REFERENCE: block_records(reference), NAME: block_records(runs)}
    conserved = all(_at_rest(r) for r in (*runs, *reference))
    for method in _methods(runs, reference):
        mine = runs if method.name == NAME else reference
        energy = [drift_and_fluctuation(r) for r in mine]
        methods[method.name] = {
            **method.__dict__,
            "runs": len(blocks[method.name]),
            "lost": [],
            "independence": independence(mine, conserved) if len(mine) > 1 else None,
            "cost": None,
            "reported": compare_reports(mine),
            "drift": [drift for drift, _ in energy],
            "fluctuation": [width for _, width in energy],
            **({} if any(reference[0].pbc) else find_broken(mine, coordinates)),
            "flips": flips(mine, coordinates),
        }
    row, units = methods[NAME], blocks[NAME]
    row["temperature"] = difference_of_temperatures(
        units, blocks[REFERENCE], conserved, paired=False
    )
    row["shapes"] = compare_shapes(
        shape_values(units, coordinates), shape_values(blocks[REFERENCE], coordinates)
    )
    interval = max(runs[0].interval, reference[0].interval)
    whole = min(len(runs), len(reference)) >= 4
    sides = (runs, reference) if whole else (units, blocks[REFERENCE])
    densities = [run_spectra(side, interval, settings.resolution) for side in sides]
    row["spectra"] = compare_spectra(densities[0], densities[1], paired=False)
    row["vacf"] = vacf_deviation(runs, reference)
    for name, more in cell_rows(blocks, _methods(runs, reference), 0.0).items():
        methods[name] |= more
    return {"name": NAME, **described(reference[0]), "methods": methods}


def _methods(runs: Sequence[Record], reference: Sequence[Record]) -> list[Method]:
    """The two sides as methods, so that they are drawn and judged like any other."""
    made = []
    for name, role, mine in ((REFERENCE, "reference", reference), (NAME, "test", runs)):
        step = mine[0].interval / FS
        length = float(np.mean([r.time[-1] for r in mine])) / PS
        made.append(Method(name, "dynamics", role, "outside", step, step, length))
    return made


def _at_rest(record: Record) -> bool:
    total = np.linalg.norm(record.momenta.sum(1), axis=1)
    size = np.sqrt((record.momenta**2).sum((1, 2)))
    return bool(np.all(total <= AT_REST * size))


def run_outside(
    trajectories: Sequence[Path],
    references: Sequence[Path],
    overrides: Sequence[str],
    output: Path,
    topology: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluate trajectories made elsewhere, with a summary on the console.

    Parameters
    ----------
    trajectories, references : sequence of Path
    overrides : sequence of str
        ``key=value``; of :class:`EvaluateSettings`, ``resolution``, ``interval_fs``
        and the units matter.
    output : Path
        Folder for ``evaluation.html`` and ``evaluation.json``.
    topology : Path, optional
        See :func:`~kstep_training.evaluate.frames.read_trajectory`.
    console : rich.console.Console, optional

    Returns
    -------
    dict
        The content of ``evaluation.json``.

    Raises
    ------
    ValueError, OSError, ImportError
        If a side is missing, a file cannot be read, or they do not belong together.
    """
    if not trajectories or not references:
        raise ValueError(
            f"{len(trajectories)} trajectories and {len(references)} references were given; "
            "expected at least one of each: --trajectory FILE --reference FILE"
        )
    settings = override(EvaluateSettings, overrides)
    runs, reference = (
        [
            read_trajectory(path, topology, settings.interval_fs, settings.given_units())
            for path in paths
        ]
        for paths in (trajectories, references)
    )
    metrics = outside_metrics(runs, reference, settings)
    methods = _methods(runs, reference)
    records: dict[str, Sequence[Record]] = {REFERENCE: reference, NAME: runs}
    drawn = [
        ("Total energy against time", "First run of each side.", energies(records, methods)),
        ("Vibrational spectra", "Reference in grey.", spectra(records, methods, settings)),
        ("Distributions", "Reference in grey.", distributions(records, methods, "dynamics")),
        *cell_pictures(metrics["methods"], "dynamics"),
    ]
    pictures = {NAME: [Picture(title, caption, svg) for title, caption, svg in drawn if svg]}
    name = ", ".join(path.name for path in trajectories)
    report = build_report(name, "", [metrics], {}, settings, None)
    output.mkdir(parents=True, exist_ok=True)
    files = [output / "evaluation.html", output / "evaluation.json"]
    write_html(files[0], report, [], pictures)
    write_json(files[1], report)
    print_summary(console or Console(), report, files)
    return report
