"""Figures and sentences of the report on runs in cells.

Radial distributions, structure factor, mean-square displacement, profile of a slab; and what is not
shown, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from kstep_training.evaluate.plan import REFERENCE, THERMAL
from kstep_training.figure_style import FILL, colour, dash, make_figure, styled, svg

__all__ = ["cell_curves_figure", "cell_notes", "cell_pictures", "cell_words"]

_ANGSTROM: Final = "\N{ANGSTROM SIGN}"
_AXES: Final = {
    "radial": (f"distance, {_ANGSTROM}", "g(r)"),
    "structure": (f"wavenumber, 1/{_ANGSTROM}", "S(k)"),
    "displacement": ("time, ps", f"mean square, {_ANGSTROM}\N{SUPERSCRIPT TWO}"),
    "profile": (f"height, {_ANGSTROM}", "density, g/cm\N{SUPERSCRIPT THREE}"),
}
PANELS: Final = 6


def cell_curves_figure(rows: Mapping[str, Mapping[str, Any]], kind: str, part: str) -> str | None:
    """Curves of one kind, a panel for each element or pair; the reference grey.

    Parameters
    ----------
    rows : mapping
        Metrics of the methods of one molecule, by name.
    kind : {"radial", "structure", "displacement", "profile"}
    part : {"dynamics", "ensemble"}

    Returns
    -------
    str or None
        None where there is nothing to draw.
    """
    origin = REFERENCE if part == "dynamics" else THERMAL
    shown = {
        name: row["curves"][kind]
        for name, row in rows.items()
        if row["part"] == part
        and kind in row.get("curves", {})
        and (row["role"] != "control" or name.startswith(("potential", "untested")))
    }
    panels = list(next(iter(shown.values()), {}))[:PANELS]
    if not panels:
        return None
    with styled():
        across = min(len(panels), 3) if len(panels) != 4 else 2
        down = -(-len(panels) // across)
        figure = make_figure((2.4 if down == 1 else 1.75 * down) + 0.4)
        axes = figure.subplots(down, across, squeeze=False)
        for axis, name in zip(axes.flat, panels, strict=False):
            _panel(axis, name, kind, shown, origin)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(_AXES[kind][1])
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8,
                      frameon=False, handlelength=1.6, columnspacing=1.2)  # fmt: skip
        return svg(figure)


def _panel(
    axis: Any, name: str, kind: str, shown: Mapping[str, Mapping[str, Any]], origin: str
) -> None:
    names: Sequence[str] = list(shown)
    for method, curves in shown.items():
        if name not in curves:
            continue
        x, y = (np.asarray(curves[name][key]) for key in ("x", "y"))
        if method != origin:
            axis.plot(x, y, color=colour(method), linewidth=1.0, label=method,
                      linestyle=dash(method, names))  # fmt: skip
        elif kind == "displacement":  # lines on a filled triangle are hard to tell apart
            axis.plot(x, y, color=FILL, linewidth=4.0, label=method, solid_capstyle="butt")
        else:
            axis.fill_between(x, y, color=FILL, lw=0, label=method)
    axis.set_title(name)
    axis.set_xlabel(_AXES[kind][0])
    axis.set_ylim(0.0, None)
    axis.margins(x=0.0)


_TITLES: Final = {
    "radial": ("Radial distributions", "Pairs of elements, over those of the reference (grey)."),
    "structure": ("Structure factor",
                  "Shells of the wave vectors of the cell, over those of the reference (grey)."),
    "displacement": ("Mean-square displacement",
                     "Along the periodic directions, without drift; the reference is grey."),
    "profile": ("Profile of the slab", "Mass density along the normal, over the reference (grey)."),
}  # fmt: skip
_PARTS: Final = {"dynamics": "", "ensemble": " at constant temperature"}


def cell_pictures(
    rows: Mapping[str, Mapping[str, Any]], part: str
) -> list[tuple[str, str, str | None]]:
    """Title, caption and figure of each kind of curve."""
    return [
        (f"{title}{_PARTS[part]}", caption, cell_curves_figure(rows, kind, part))
        for kind, (title, caption) in _TITLES.items()
    ]


_DIRECTIONS = {1: "one direction", 2: "two directions", 3: "all directions"}


def cell_words(molecule: Mapping[str, Any]) -> str:
    """How a system is periodic, and how many of its atoms are held.

    Examples
    --------
    >>> cell_words({"pbc": [True, True, False], "fixed": 4})
    'periodic in two directions, 4 atoms held'
    """
    held = f", {molecule['fixed']} atoms held" if molecule["fixed"] else ""
    return f"periodic in {_DIRECTIONS[sum(molecule['pbc'])]}{held}"


def cell_notes(molecule: Mapping[str, Any]) -> list[str]:
    """What is not shown of a system in a cell, and why.

    Examples
    --------
    >>> cell_notes({"pbc": [True, True, False], "methods": {}})[0][:47]
    'A slab has no volume: no radial distributions, '
    """
    notes = []
    if sum(molecule["pbc"]) < 3:
        open_cell = "A slab" if sum(molecule["pbc"]) == 2 else "A wire"
        notes.append(
            f"{open_cell} has no volume: no radial distributions, structure factor, coordination "
            "or pressure."
        )
    rows = [row for row in molecule["methods"].values() if "cell" in row]
    if all(molecule["pbc"]) and not any(row["cell"].get("pressure") for row in rows):
        notes.append("No pressure: the physics gives no stress, or nothing was computed again.")
    moving = [row for row in rows if row["part"] == "dynamics"]
    if moving and not any(row["cell"].get("diffusion") for row in moving):
        notes.append(
            "No diffusion: it needs two runs, whose landings are evenly spread and close enough to "
            "follow each atom from cell to cell."
        )
    notes.append("Bonds and angles of cells are not looked at.")
    return notes
