"""Energy against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kstep_integrators import units
from kstep_training.evaluate.figures.style import POINTS, Array, colour, make_figure, styled, svg
from kstep_training.evaluate.motion import total_energy
from kstep_training.evaluate.plan import TRUTH, Method
from kstep_training.evaluate.record import Record

__all__ = ["energies"]


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest of each of so many parts, so that thinning hides no spike."""
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
