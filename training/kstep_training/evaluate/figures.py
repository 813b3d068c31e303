"""The figures of the report, as SVG texts: what a person would rather look at than read."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_training.evaluate.motion import run_spectra, total_energy
from kstep_training.evaluate.plan import REFERENCE, THERMAL, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.shapes import coordinates_of, label, shape_values

__all__ = ["Series", "distributions", "energies", "radial", "spectra", "speed_and_error"]

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Segoe UI", "Helvetica", "Arial"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
    "axes.unicode_minus": True,
}
_WIDTH: Final = 6.3
_GREY: Final = "#8a8f98"
# Distinguishable with any colour vision (Okabe-Ito).
_FAMILY: Final = {
    "impulse": "#D55E00",
    "filtered": "#0072B2",
    "metropolis": "#009E73",
    "verlet": "#3a3f47",
    "respa": "#CC79A7",
    "potential-only": "#E69F00",
    "untested": "#E69F00",
    "ballistic": "#8a8f98",
    "trajectory": "#D55E00",
    "direct": "#D55E00",
}
_POINTS: Final = 300
"""Of a line; more would only make the file larger."""

Array = NDArray[np.float64]


def colour(name: str) -> str:
    """Of a method, by its family."""
    return next((c for family, c in _FAMILY.items() if name.startswith(family)), "#56B4E9")


def _svg(figure: Figure) -> str:
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    # Hundredths of a point are more than any screen shows, and half of the size.
    return re.sub(r"(\d\.\d\d)\d+", r"\1", text.getvalue())


def _figure(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest of each of so many parts, so that thinning hides no spike."""
    if len(x) <= _POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), _POINTS // 2)
    kept = np.array([i for p in parts for i in sorted((p[y[p].argmin()], p[y[p].argmax()]))])
    return x[kept], y[kept]


def energies(records: Mapping[str, Sequence[Record]], methods: Sequence[Method]) -> str | None:
    """Change of the total energy of the first run of each method; one strip for each."""
    shown = []
    for method in methods:
        runs = records.get(method.name)
        if method.part != "dynamics" or method.name == "fine" or not runs:
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
    with mpl.rc_context(_STYLE):
        figure = _figure(0.62 * rows + 0.55)
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
        return _svg(figure)


def _panels(reference: Record, values: Mapping[str, Sequence[Array]]) -> list[tuple[str, str, int]]:
    """Title, kind and number of the coordinates to show: stiff and soft ones."""
    coordinates = coordinates_of(reference)
    found: list[tuple[str, str, int]] = []
    for kind, count in (("bonds", 2), ("angles", 1), ("dihedrals", 2), ("energy", 1)):
        if kind not in values:
            continue
        widths = np.concatenate(values[kind]).std(axis=0)
        order = np.argsort(widths)
        picked = [order[0], order[-1]][: min(count, len(order))] if count > 1 else [order[-1]]
        for q in dict.fromkeys(int(i) for i in picked):
            if kind == "energy":
                found.append(("potential energy, meV", kind, q))
            else:
                group = coordinates[kind][q]
                unit = "\N{ANGSTROM SIGN}" if kind == "bonds" else "\N{DEGREE SIGN}"
                found.append((f"{label(reference.numbers, group)}, {unit}", kind, q))
    return found[:6]


def distributions(
    records: Mapping[str, Sequence[Record]], methods: Sequence[Method], part: str
) -> str | None:
    """Some internal coordinates; the reference filled, every method of the part a line."""
    origin = REFERENCE if part == "dynamics" else THERMAL
    if origin not in records:
        return None
    reference = records[origin]
    coordinates = coordinates_of(reference[0])
    skip = 0.0 if part == "dynamics" else 0.1
    shown = [
        m for m in methods
        if m.part == part and m.name in records and m.kind != "ballistic" and m.name != "fine"
        and (m.role != "control" or m.name.startswith(("potential", "untested")))
    ]  # fmt: skip
    values: dict[str, dict[str, list[Array]]] = {}
    for method in shown:
        whole = [r for r in records[method.name] if r.whole]
        if whole:
            values[method.name] = shape_values(whole, coordinates, skip)
    base = values.get(origin)
    if base is None:
        return None
    if part == "dynamics":
        base = {kind: runs for kind, runs in base.items() if kind != "energy"}
    panels = _panels(reference[0], base)
    if not panels:
        return None
    with mpl.rc_context(_STYLE):
        figure = _figure(1.55 * -(-len(panels) // 3) + 0.6)
        axes = figure.subplots(-(-len(panels) // 3), 3, squeeze=False)
        for axis, (title, kind, q) in zip(axes.flat, panels, strict=False):
            _panel(axis, title, kind, q, base, values, origin)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8,
                      frameon=False, handlelength=1.6, columnspacing=1.2)  # fmt: skip
        return _svg(figure)


def _panel(
    axis: Any,
    title: str,
    kind: str,
    q: int,
    base: Mapping[str, Sequence[Array]],
    values: Mapping[str, Mapping[str, Sequence[Array]]],
    origin: str,
) -> None:
    pooled = np.concatenate(base[kind])[:, q]
    scale, zero = 1.0, 0.0
    if kind in ("angles", "dihedrals"):
        scale = 180.0 / np.pi
    if kind == "energy":
        scale, zero = 1e3, float(pooled.min())
    low, high = (
        (-180.0, 180.0)
        if kind == "dihedrals"
        else (
            scale * (pooled.mean() - zero - 4.0 * pooled.std()),
            scale * (pooled.mean() - zero + 4.5 * pooled.std()),
        )
    )
    edges = np.linspace(low, high, 49)
    centres = 0.5 * (edges[1:] + edges[:-1])
    for name, found in values.items():
        if kind not in found:
            continue
        mine = scale * (np.concatenate(found[kind])[:, q] - zero)
        density = np.histogram(mine, edges)[0] / len(mine)
        if name == origin:
            axis.fill_between(centres, density, color="#c9ced6", lw=0, step="mid", label=name)
        else:
            axis.plot(centres, density, color=colour(name), linewidth=1.0, label=name,
                      linestyle=_dash(name, list(values)))  # fmt: skip
    axis.set_title(title)
    axis.set_yticks([])
    axis.set_xlim(low, high)
    axis.set_ylim(0.0, None)
    axis.spines["left"].set_visible(False)


def _dash(name: str, names: Sequence[str]) -> Any:
    """Solid for the first of a family, then shorter and shorter dashes."""
    family = [other for other in names if colour(other) == colour(name)]
    return ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (1, 1)))[min(family.index(name), 3)]


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
        found = [s for s in run_spectra(runs, interval, settings.resolution) if s]
        base = [s for s in run_spectra(records[REFERENCE], interval, settings.resolution) if s]
        if found and base and method.name not in (REFERENCE, "fine"):
            rows.append((method.name, found, base))
    if not rows:
        return None
    with mpl.rc_context(_STYLE):
        figure = _figure(0.42 * len(rows) + 0.75)
        axis = figure.subplots()
        tall = max(np.mean([s.density for s in base], axis=0).max() for _, _, base in rows)
        for level, (name, found, base) in enumerate(reversed(rows)):
            nu = base[0].wavenumbers
            kept = np.flatnonzero(nu <= 4200.0)
            kept = kept[:: max(1, len(kept) // _POINTS)]
            other = 0.92 * np.mean([s.density for s in base], axis=0)[kept] / tall
            mine = 0.92 * np.mean([s.density for s in found], axis=0)[kept] / tall
            axis.fill_between(nu[kept], level, level + other, color="#c9ced6", lw=0)
            axis.plot(nu[kept], level + np.minimum(mine, 1.6), color=colour(name), linewidth=0.9)
            axis.text(4220.0, level + 0.08, name, color=colour(name), fontsize=8,
                      fontweight="bold")  # fmt: skip
        axis.set_xlim(0.0, 4200.0)
        axis.set_ylim(-0.05, len(rows) + 0.5)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlabel("wavenumber, cm\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}")
        return _svg(figure)


Series = tuple[str, float, float | None]
"""Name, evaluations per picosecond, error; None if runs were lost."""


def speed_and_error(points: Sequence[Series], title: str, bar: str | None) -> str | None:
    """Error against cost; strides of one family are joined. What was lost stands at the top."""
    known = [p for p in points if p[2] is not None and p[2] > 0.0]
    paid = [p[1] for p in points if p[1] > 0.0]
    if not known or not paid:
        return None
    top = 3.0 * max(float(p[2] or 0.0) for p in known)
    left = 0.6 * min(paid)
    with mpl.rc_context(_STYLE):
        figure = _figure(3.4)
        axis = figure.subplots()
        families: dict[str, list[tuple[float, float]]] = {}
        labels: list[tuple[str, float, float, str]] = []
        for name, cost, error in points:
            x, y = (cost if cost > 0.0 else left), (top if error is None else error)
            families.setdefault(name.rsplit("-", 1)[0], []).append((x, y))
            lost = error is None
            axis.plot([x], [y], marker="x" if lost else _MARKER.get(_family(name), "o"),
                      color=colour(name), markersize=7, linestyle="",
                      markerfacecolor=colour(name) if not lost else "none")  # fmt: skip
            words = name + (" (lost)" if lost else "") + ("" if cost > 0.0 else " (no physics)")
            labels.append((words, x, y, colour(name)))
        for name, place in families.items():
            line = sorted(p for p in place if p[1] < top)
            if len(line) > 1:
                axis.plot(*zip(*line, strict=True), color=colour(name), linewidth=0.8, alpha=0.5)
        for name, cost, error in points:
            if name == bar and error is not None:
                axis.axhline(error, color="0.6", linewidth=0.7, linestyle=":")
                axis.axvline(cost, color="0.6", linewidth=0.7, linestyle=":")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(0.8 * left, 1.6 * max(paid))
        ticks = sorted({round(p[1]) for p in points if p[1] > 0.0})
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel("evaluations of the physics per picosecond (cheaper to the left)")
        axis.set_ylabel(title)
        _annotate(figure, axis, labels)
        return _svg(figure)


def _annotate(figure: Figure, axis: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Names beside their points, at the first of some places where they hide nothing."""
    FigureCanvasSVG(figure)
    figure.draw_without_rendering()
    scale = 72.0 / figure.dpi
    points = [scale * axis.transData.transform((x, y)) for _, x, y, _ in labels]
    taken = [(x - 4.0, y - 4.0, x + 4.0, y + 4.0) for x, y in points]
    left, right = scale * axis.bbox.x0, scale * axis.bbox.x1 + 40.0
    for (words, x, y, shade), (px, py) in zip(labels, points, strict=True):
        width, height = 4.4 * len(words), 9.0
        best = (6.0, 3.0)
        for reach in range(8):
            sides = [(6.0, 3.0 - 9.0 * reach), (-6.0 - width, 3.0 - 9.0 * reach),
                     (6.0, 3.0 + 9.0 * reach), (-6.0 - width, 3.0 + 9.0 * reach)]  # fmt: skip
            free = [
                (dx, dy) for dx, dy in sides
                if left < px + dx < right - width
                and not any(_overlap(_box(px + dx, py + dy, width, height), b) for b in taken)
            ]  # fmt: skip
            if free:
                best = free[0]
                break
        taken.append(_box(px + best[0], py + best[1], width, height))
        line = {"arrowstyle": "-", "lw": 0.4, "color": shade} if abs(best[1] - 3.0) > 12.0 else None
        axis.annotate(words, (x, y), textcoords="offset points", xytext=best, fontsize=7.5,
                      color=shade, arrowprops=line)  # fmt: skip


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y - 1.0, x + width, y + height - 1.0


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


_MARKER: Final = {"verlet": "s", "impulse": "o", "filtered": "D", "respa": "v", "reference": "s"}


def _family(name: str) -> str:
    return name.rsplit("-", 1)[0]


def radial(
    found: Mapping[str, Sequence[Any]], reference: Mapping[str, Sequence[Any]]
) -> str | None:
    """Radial distributions of each pair of elements, over those of the reference."""
    pairs = [pair for pair in found if pair in reference][:6]
    if not pairs:
        return None
    with mpl.rc_context(_STYLE):
        figure = _figure(1.7 * -(-len(pairs) // 3) + 0.3)
        axes = figure.subplots(-(-len(pairs) // 3), 3, squeeze=False)
        for axis, pair in zip(axes.flat, pairs, strict=False):
            r = reference[pair][0].distances
            axis.fill_between(r, np.mean([g.density for g in reference[pair]], 0), color="#c9ced6")
            r = found[pair][0].distances
            mine = np.mean([g.density for g in found[pair]], 0)
            axis.plot(r, mine, color=colour("trajectory"), linewidth=1.0)
            axis.set_title(f"{pair}, \N{ANGSTROM SIGN}")
        for axis in axes.flat[len(pairs) :]:
            axis.set_visible(False)
        return _svg(figure)
