"""The report as an HTML page: one file, without a request to the network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from kstep_integrators.files import write_text_atomically
from kstep_training.evaluate.cell_figures import cell_notes, cell_pictures, cell_words
from kstep_training.evaluate.distribution_figures import distributions
from kstep_training.evaluate.figures import Point, energies, learning, spectra, speed_and_error
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.report import SYMBOLS, cell, reasons
from kstep_training.evaluate.settings import EvaluateSettings

__all__ = ["Picture", "draw_molecule", "draw_overview", "write_html"]


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes
    ----------
    title, caption : str
    svg : str
    """

    title: str
    caption: str
    svg: str

    @property
    def uri(self) -> str:
        """The picture itself as an address, so that names in it clash with no others."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def draw_molecule(
    records: Mapping[str, Sequence[Record]],
    metrics: Mapping[str, Any],
    methods: Sequence[Method],
    settings: EvaluateSettings,
    bar: str | None,
) -> list[Picture]:
    """The pictures of one molecule."""
    figures = [
        ("Speed against error",
         f"Distance of the atoms from the fine reference after {settings.compared_fs:g} fs, mean "
         "over starts, against what a picosecond costs. Dotted: the bar, which jumps have to beat.",
         speed_and_error(_series(metrics), _distance_title(settings), bar)),
        ("Total energy against time",
         "Of the physics at the landings, first start. All panels have one scale.",
         energies(records, methods)),
        ("Vibrational spectra", "Over that of the reference (grey), averaged over starts.",
         spectra(records, methods, settings)),
        ("Learning",
         "Residual of each landing before its label was learned, of the base at the same landings "
         "dotted; and how the stride grew. Runs of their own, before those that are compared.",
         learning(records, methods)),
        ("Distributions at constant energy", "The stiffest and the softest coordinates of a kind.",
         distributions(records, methods, "dynamics")),
        ("Distributions at constant temperature",
         "Langevin dynamics on the physics in grey; untested: jumps without a Metropolis test.",
         distributions(records, methods, "ensemble")),
        *cell_pictures(metrics["methods"], "dynamics"),
        *cell_pictures(metrics["methods"], "ensemble"),
    ]  # fmt: skip
    return [Picture(title, caption, svg) for title, caption, svg in figures if svg]


def _distance_title(settings: EvaluateSettings) -> str:
    return f"distance after {settings.compared_fs:g} fs, \N{ANGSTROM SIGN}"


def _paid(row: Mapping[str, Any], evaluations: float | None) -> float:
    """Evaluations per picosecond; of methods that were lost, those that they were to make."""
    if row["stride_fs"] and evaluations is None and row["lost"]:
        return 1000.0 / float(row["stride_fs"])
    return evaluations or 0.0


def _series(metrics: Mapping[str, Any]) -> list[Point]:
    points: list[Point] = []
    for name, row in metrics["methods"].items():
        if "distance" not in row:
            continue
        gaps = [np.inf if d is None else d for d in row["distance"]]
        mean = float(np.mean(gaps))
        cost = _paid(row, row["cost"]["evaluations"] if row["cost"] else None)
        points.append(Point(name, cost, mean if np.isfinite(mean) else None))
    return points


def draw_overview(report: Mapping[str, Any], settings: EvaluateSettings) -> list[Picture]:
    """The pictures over all molecules."""
    pictures = []
    for key, title, name in (
        ("distance", _distance_title(settings), "Speed against error, all molecules"),
        ("fluctuation", "energy fluctuation, meV/atom", "Speed against energy fluctuation"),
    ):
        points = [
            Point(method, _paid(row, row["evaluations_per_ps"]), row[key]["median"])
            for method, row in report["summary"].items()
            if row["part"] == "dynamics" and key in row
        ]
        if key == "fluctuation":  # free flight has no energies
            points = [p for p in points if p.cost > 0.0]
        drawn = speed_and_error(points, title, report["bar"])
        pictures += [] if drawn is None else [Picture(name, _MEDIAN, drawn)]
    return pictures


_MEDIAN = (
    "Median over molecules. Lower left is better: cheaper and closer. Dotted: the bar, which jumps "
    "have to beat. The potential alone needs no physics; it is evaluated to be watched."
)


def write_html(
    path: Path,
    report: Mapping[str, Any],
    overview: Sequence[Picture],
    pictures: Mapping[str, Sequence[Picture]],
) -> None:
    """Write the page atomically.

    Parameters
    ----------
    path : Path
    report : mapping
        From :func:`~kstep_training.evaluate.report.build_report`.
    overview : sequence of Picture
    pictures : mapping of str to sequence of Picture
        By molecule.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = _number
    environment.filters["signed"] = _signed
    columns = {
        promise: list(
            dict.fromkeys(n for m in report["molecules"] for n in m["verdicts"].get(promise, {}))
        )
        for promise in report["promises"]
    }
    text = environment.get_template("page.html").render(
        report=report,
        overview=overview,
        pictures=pictures,
        columns=columns,
        cell=cell,
        reasons=reasons,
        cell_words=cell_words,
        cell_notes=cell_notes,
        with_limit=_with_limit,
        symbols=SYMBOLS,
    )
    write_text_atomically(path, text)


def _number(value: Any, digits: int = 3) -> str:
    """Few digits, no exponents where they can be avoided; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, str | bool):
        return str(value)
    size = abs(value)
    if size == 0.0 or (float(value).is_integer() and size < 1e6):
        return f"{value:,.0f}"
    if size < 10.0 ** -(digits + 1) or size >= 1e6:
        return f"{value:.1e}"
    return f"{value:.{digits}g}" if size < 10.0**digits else f"{value:,.0f}"


def _with_limit(known: Mapping[str, Any] | None) -> str:
    """A mean and three standard errors of it, where there is any noise."""
    if not known:
        return ""
    mean, limit = known["mean"], known["limit"]
    if limit is None or limit <= 1e-6 * abs(mean):
        return _number(mean, 4)
    digits = max(0, 1 - math.floor(math.log10(limit)))
    return f"{mean:.{digits}f} \N{PLUS-MINUS SIGN} {limit:.{digits}f}"


def _signed(value: Any, digits: int = 2) -> str:
    """A number with its sign, unless it is rounded to 0."""
    text = _number(value, digits)
    if value is None or abs(value) < 0.5 * 10.0**-digits:
        return text if value is None else "0"
    return text if value < 0.0 else f"+{text}"
