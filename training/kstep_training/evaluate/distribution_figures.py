"""Figures of distributions of internal coordinates and energies, overlaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kstep_training.evaluate.metrics import BURN_IN
from kstep_training.evaluate.plan import REFERENCE, THERMAL, TRUTH, Method
from kstep_training.evaluate.record import Array, Record
from kstep_training.evaluate.structure import coordinates_of, label, shape_values
from kstep_training.figure_style import FILL, colour, dash, make_figure, styled, svg

__all__ = ["distributions"]


def _panels(reference: Record, values: Mapping[str, Sequence[Array]]) -> list[tuple[str, str, int]]:
    """Title, kind and number of the coordinates to show: stiff and soft ones."""
    coordinates = coordinates_of(reference)
    panels: list[tuple[str, str, int]] = []
    for kind, count in (("bonds", 2), ("angles", 1), ("dihedrals", 2), ("energy", 1)):
        if kind not in values:
            continue
        widths = np.concatenate(values[kind]).std(axis=0)
        order = np.argsort(widths)
        picked = [order[0], order[-1]][: min(count, len(order))] if count > 1 else [order[-1]]
        for q in dict.fromkeys(int(i) for i in picked):
            if kind == "energy":
                panels.append(("potential energy, meV", kind, q))
            else:
                group = coordinates[kind][q]
                unit = "\N{ANGSTROM SIGN}" if kind == "bonds" else "\N{DEGREE SIGN}"
                panels.append((f"{label(reference.numbers, group)}, {unit}", kind, q))
    return panels[:6]


def distributions(
    records: Mapping[str, Sequence[Record]], methods: Sequence[Method], part: str
) -> str | None:
    """Some internal coordinates; the reference filled, every method of the part a line."""
    origin = REFERENCE if part == "dynamics" else THERMAL
    if origin not in records:
        return None
    reference = records[origin]
    coordinates = coordinates_of(reference[0])
    skip = 0.0 if part == "dynamics" else BURN_IN
    shown = [
        m for m in methods
        if m.part == part and m.name in records and m.kind != "ballistic" and m.name != TRUTH
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
    with styled():
        across = 2 if len(panels) in (2, 4) else 3
        rows = -(-len(panels) // across)
        figure = make_figure(1.55 * rows + 0.6)
        axes = figure.subplots(rows, across, squeeze=False)
        for axis, (title, kind, q) in zip(axes.flat, panels, strict=False):
            _panel(axis, title, kind, q, base, values, origin)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8,
                      frameon=False, handlelength=1.6, columnspacing=1.2)  # fmt: skip
        return svg(figure)


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
    for name, runs in values.items():
        if kind not in runs:
            continue
        mine = scale * (np.concatenate(runs[kind])[:, q] - zero)
        density = np.histogram(mine, edges)[0] / len(mine)
        if name == origin:
            axis.fill_between(centres, density, color=FILL, lw=0, step="mid", label=name)
        else:
            axis.plot(centres, density, color=colour(name), linewidth=1.0, label=name,
                      linestyle=dash(name, list(values)))  # fmt: skip
    axis.set_title(title)
    axis.set_yticks([])
    axis.set_xlim(low, high)
    axis.set_ylim(0.0, None)
    axis.spines["left"].set_visible(False)
