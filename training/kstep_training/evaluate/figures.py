"""Figures of the report: error against cost, energies against time, vibrational spectra.

Each is an SVG text, or None where there is nothing to draw.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from kstep_integrators import units
from kstep_integrators.diagnostics import Spectrum
from kstep_training.evaluate.energy_and_spectra import run_spectra, total_energy
from kstep_training.evaluate.plan import FROZEN, REFERENCE, REFITTED, TRUTH, Method
from kstep_training.evaluate.record import Array, Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.figure_style import FILL, PALETTE, POINTS, colour, make_figure, styled, svg

__all__ = ["Point", "energies", "learning", "spectra", "speed_and_error"]

_LINES: Final = (PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[5], PALETTE[1], PALETTE[3])
_MARKER: Final = {
    "verlet": "s", "impulse": "o", "filtered": "D", "mollified": "^", "respa": "v",
    "reference": "s",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A method in the figure of error against cost.

    Attributes
    ----------
    name : str
    cost : float
        Evaluations per picosecond; 0 without physics.
    error : float or None
        None if runs were lost.
    """

    name: str
    cost: float
    error: float | None

    @property
    def family(self) -> str:
        """The name without the stride."""
        return self.name.rsplit("-", 1)[0]

    @property
    def caption(self) -> str:
        """The text beside it."""
        lost = " (lost)" if self.error is None else ""
        return self.name + lost + ("" if self.cost > 0.0 else " (no physics)")


def speed_and_error(points: Sequence[Point], title: str, bar: str | None) -> str | None:
    """Error against cost; strides of one family are joined. What was lost stands at the top."""
    known = [p.error for p in points if p.error is not None and p.error > 0.0]
    paid = [p.cost for p in points if p.cost > 0.0]
    if not known or not paid:
        return None
    top, left = 3.0 * max(known), 0.6 * min(paid)

    def place(point: Point) -> tuple[float, float]:
        return point.cost or left, top if point.error is None else point.error

    with styled():
        figure = make_figure(3.4)
        axis = figure.subplots()
        for point in points:
            lost = point.error is None
            axis.plot(*([v] for v in place(point)), color=colour(point.name), markersize=7,
                      marker="x" if lost else _MARKER.get(point.family, "o"), linestyle="",
                      markerfacecolor="none" if lost else colour(point.name))  # fmt: skip
            if point.name == bar and not lost:
                for line, value in zip((axis.axvline, axis.axhline), place(point), strict=True):
                    line(value, color="0.6", linewidth=0.7, linestyle=":")
        for family in dict.fromkeys(p.family for p in points):
            joined = sorted(place(p) for p in points if p.family == family and p.error is not None)
            if len(joined) > 1:
                axis.plot(*zip(*joined, strict=True), color=colour(family), linewidth=0.8,
                          alpha=0.5)  # fmt: skip
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(0.8 * left, 1.6 * max(paid))
        ticks = _apart(sorted({round(cost) for cost in paid}))
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel("evaluations of the physics per picosecond (cheaper to the left)")
        axis.set_ylabel(title)
        _annotate(figure, axis, [(p.caption, *place(p), colour(p.name)) for p in points])
        return svg(figure)


def _apart(values: Sequence[int], factor: float = 1.3) -> list[int]:
    """Ticks without those too close to the one before, so that no label lies on another."""
    kept: list[int] = []
    for value in values:
        if not kept or value > factor * kept[-1]:
            kept.append(value)
    return kept


def _annotate(figure: Figure, axis: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Names beside their points, at the first of some places where they hide nothing."""
    FigureCanvasSVG(figure)
    figure.draw_without_rendering()
    scale = 72.0 / figure.dpi
    points = [scale * axis.transData.transform((x, y)) for _, x, y, _ in labels]
    taken = [(x - 4.0, y - 4.0, x + 4.0, y + 4.0) for x, y in points]
    left, right = scale * axis.bbox.x0, scale * axis.bbox.x1 + 40.0
    low, high = scale * axis.bbox.y0, scale * axis.bbox.y1 + 8.0
    for (text, x, y, shade), (px, py) in zip(labels, points, strict=True):
        width, height = 4.4 * len(text), 9.0
        reach = (3.0 + sign * 9.0 * step for step in range(8) for sign in (-1, 1))
        sides = [(dx, dy) for dy in reach for dx in (6.0, -6.0 - width)]
        free = (
            (dx, dy) for dx, dy in sides
            if left < px + dx < right - width and low < py + dy < high - height
            and not any(_overlap(_box(px + dx, py + dy, width, height), b) for b in taken)
        )  # fmt: skip
        best = next(itertools.chain(free, [(6.0, 3.0)]))
        taken.append(_box(px + best[0], py + best[1], width, height))
        line = {"arrowstyle": "-", "lw": 0.4, "color": shade} if abs(best[1] - 3.0) > 12.0 else None
        axis.annotate(text, (x, y), textcoords="offset points", xytext=best, fontsize=7.5,
                      color=shade, arrowprops=line)  # fmt: skip


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y - 1.0, x + width, y + height - 1.0


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Fewer points: lowest and highest of equal parts, so that no spike is hidden."""
    if len(x) <= POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), POINTS // 2)
    kept = np.array([i for p in parts for i in sorted((p[y[p].argmin()], p[y[p].argmax()]))])
    return x[kept], y[kept]


def energies(records: Mapping[str, Sequence[Record]], methods: Sequence[Method]) -> str | None:
    """Change of the total energy of the first run of each method; one strip for each."""
    shown = []
    for method in methods:
        runs = records.get(method.name)
        if method.part != "dynamics" or method.name == TRUTH or not runs:
            continue
        time, energy = total_energy(runs[0])
        if len(time) > 2:
            # Against the mean of the first tenth of a picosecond: one frame is no origin.
            origin = energy[: max(1, int(np.searchsorted(time, 0.1 * units.PS)))].mean()
            shown.append((method, time / units.PS, 1e3 * (energy - origin) / len(runs[0].masses)))
    if not shown:
        return None
    spreads = [np.percentile(np.abs(e), 99) for m, _, e in shown if m.role == "test"]
    spreads += [np.percentile(np.abs(e), 99) for m, _, e in shown if m.role == "reference"]
    room = 1.3 * max(float(np.median(spreads)), 1e-3) * 2.0
    rows = -(-len(shown) // 2)
    with styled():
        figure = make_figure(0.62 * rows + 0.55)
        axes = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        for axis, (method, time, energy) in zip(axes.T.flat, shown, strict=False):
            line = np.clip(energy, -50.0 * room, 50.0 * room)
            axis.plot(*_thin(time, line), color=colour(method.name), linewidth=0.8)
            left = bool((np.abs(energy) > room).any())
            axis.text(0.01, 0.98, method.name + ("  (leaves the panel)" if left else ""),
                      transform=axis.transAxes, va="top", fontsize=8, fontweight="bold",
                      color=colour(method.name), zorder=5,
                      bbox={"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 0.8})  # fmt: skip
            axis.axhline(0.0, color="0.85", linewidth=0.6, zorder=0)
        for axis in axes.T.flat[len(shown) :]:
            axis.set_visible(False)
        axes[0, 0].set_ylim(-room, 1.7 * room)
        axes[0, 0].set_xlim(0.0, max(float(t[-1]) for _, t, _ in shown))
        figure.supylabel("total energy, meV/atom", fontsize=9)
        for axis in axes[-1]:
            axis.set_xlabel("time, ps")
        return svg(figure)


def spectra(
    records: Mapping[str, Sequence[Record]], methods: Sequence[Method], settings: EvaluateSettings
) -> str | None:
    """Vibrational densities of states, one above the other, each over that of the reference."""
    if REFERENCE not in records:
        return None
    rows = []
    for method in methods:
        runs = [r for r in records.get(method.name, []) if r.whole]
        if method.part != "dynamics" or not runs or method.kind == "ballistic":
            continue
        interval = max(runs[0].interval, records[REFERENCE][0].interval)
        curves = [s for s in run_spectra(runs, interval, settings.resolution) if s]
        base = [s for s in run_spectra(records[REFERENCE], interval, settings.resolution) if s]
        if curves and base and method.name not in (REFERENCE, TRUTH):
            rows.append((method.name, curves, base))
    if not rows:
        return None
    with styled():
        figure = make_figure(0.42 * len(rows) + 0.75)
        axis = figure.subplots()
        tall = max(np.mean([s.density for s in base], axis=0).max() for _, _, base in rows)
        top = _highest(rows[0][2])
        for level, (name, curves, base) in enumerate(reversed(rows)):
            nu = base[0].wavenumbers
            kept = np.flatnonzero(nu <= top)
            kept = kept[:: max(1, len(kept) // POINTS)]
            other = 0.92 * np.mean([s.density for s in base], axis=0)[kept] / tall
            mine = 0.92 * np.mean([s.density for s in curves], axis=0)[kept] / tall
            axis.fill_between(nu[kept], level, level + other, color=FILL, lw=0)
            axis.plot(nu[kept], level + np.minimum(mine, 1.6), color=colour(name), linewidth=0.9)
            axis.text(1.005 * top, level + 0.08, name, color=colour(name), fontsize=8,
                      fontweight="bold")  # fmt: skip
        axis.set_xlim(0.0, top)
        axis.set_ylim(-0.05, len(rows) + 0.5)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlabel("wavenumber, cm\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}")
        return svg(figure)


def _highest(reference: Sequence[Spectrum]) -> float:
    """Where the figure ends, cm^-1; earlier if all vibrations are slow, as of a metal."""
    density = np.mean([s.density for s in reference], axis=0)
    part = np.cumsum(density) / density.sum()
    fastest = 1.25 * float(reference[0].wavenumbers[np.searchsorted(part, 0.995)])
    return 100.0 * math.ceil(fastest / 100.0) if fastest < 1500.0 else 4200.0


def learning(records: Mapping[str, Sequence[Record]], methods: Sequence[Method]) -> str | None:
    """Residual against labels and stride against time, of the runs that the model learned from."""
    shown = [
        (method, records[method.name][0].facts["learning"])
        for method in methods
        if method.learn in (FROZEN, REFITTED) and method.name in records
    ]
    if not shown:
        return None
    with styled():
        figure = make_figure(2.7)
        left, right = figure.subplots(1, 2)
        for number, (method, history) in enumerate(shown):
            shade = _LINES[number % len(_LINES)]
            blocks = [b for b in history["blocks"] if b["residual_meV_per_A"] is not None]
            labels = [block["labels"] + 1 for block in blocks]
            for name, line in (("residual", "-"), ("of_base", ":")):
                values = [block[f"{name}_meV_per_A"] for block in blocks]
                left.plot(labels, values, line, color=shade, linewidth=1.0)
            name = f"{method.stride_fs:g} fs, {method.learn}"
            time = [0.0, *history["time_fs"]]
            right.stairs(history["stride_fs"], time, color=shade, baseline=None, label=name)
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel("labels")
        left.set_ylabel("residual, meV/\N{ANGSTROM SIGN}")
        right.legend(frameon=False, fontsize=7.5, loc="lower right")
        right.set_xlabel("time, fs")
        right.set_ylabel("stride, fs")
        right.set_ylim(0.0, None)
        return svg(figure)
