"""Error against cost, every method a point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from kstep_training.evaluate.figures.style import colour, make_figure, styled, svg

__all__ = ["Point", "speed_and_error"]

_MARKER: Final = {"verlet": "s", "impulse": "o", "filtered": "D", "respa": "v", "reference": "s"}


@dataclass(frozen=True)
class Point:
    """A method in the figure.

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
    def words(self) -> str:
        """What stands beside it."""
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
        _annotate(figure, axis, [(p.words, *place(p), colour(p.name)) for p in points])
        return svg(figure)


def _apart(values: Sequence[int], factor: float = 1.3) -> list[int]:
    """Without those too close to the one before, so that no tick writes over another."""
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
    for (words, x, y, shade), (px, py) in zip(labels, points, strict=True):
        width, height = 4.4 * len(words), 9.0
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
        axis.annotate(words, (x, y), textcoords="offset points", xytext=best, fontsize=7.5,
                      color=shade, arrowprops=line)  # fmt: skip


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y - 1.0, x + width, y + height - 1.0


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
