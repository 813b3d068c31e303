"""The style of figures, and the colours of methods in all of them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["FILL", "PALETTE", "POINTS", "colour", "dash", "make_figure", "styled", "svg"]

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
FILL: Final = "#c9ced6"
"""Colour of references."""
PALETTE: Final = ("#0072B2", "#56B4E9", "#D55E00", "#7F7F7F", "#009E73", "#CC79A7")
"""Colours of a few runs in their order, distinguishable with any colour vision (Okabe-Ito)."""
_FAMILY: Final = {
    "impulse": "#D55E00",
    "filtered": "#0072B2",
    "mollified": "#8B5CB5",
    "metropolis": "#009E73",
    "verlet": "#3a3f47",
    "respa": "#CC79A7",
    "potential-only": "#E69F00",
    "untested": "#E69F00",
    "ballistic": "#8a8f98",
    "learned": "#009E73",
    "learning": "#56B4E9",
    "refitted": "#B2182B",
    "trajectory": "#D55E00",
    "direct": "#D55E00",
}
POINTS: Final = 300
"""Points of a line; more would only make the file larger."""


def colour(name: str) -> str:
    """Colour of a method, by the beginning of its name."""
    return next((c for family, c in _FAMILY.items() if name.startswith(family)), "#56B4E9")


def dash(name: str, names: Sequence[str]) -> Any:
    """Style of a line: solid for the first of a family, then shorter and shorter dashes."""
    family = [other for other in names if colour(other) == colour(name)]
    return ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (1, 1)))[min(family.index(name), 3)]


def styled() -> AbstractContextManager[None]:
    """A context in which figures get the style."""
    return mpl.rc_context(_STYLE)


def make_figure(height: float) -> Figure:
    """A figure as wide as a column of the page; height in inches."""
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def svg(figure: Figure) -> str:
    """A figure as the text of an SVG file."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    # Hundredths of a point are more than any screen shows, and half of the size.
    return re.sub(r"(\d\.\d\d)\d+", r"\1", text.getvalue())
