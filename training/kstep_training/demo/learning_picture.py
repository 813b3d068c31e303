"""The picture of ``kstep demo --learn``: the residual falls, the stride grows, the energy stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kstep_integrators.units import MEV
from kstep_training.demo.learned_runs import LearnedRun
from kstep_training.figure_style import PALETTE, styled

__all__ = ["draw_learning"]

_FONT: Final = 11
_WINDOW: Final = 8
"""Landings over which lines are averaged."""
_COLOURS: Final = (PALETTE[2], PALETTE[3])


def draw_learning(path: Path, title: str, runs: Sequence[LearnedRun]) -> None:
    """Draw the three panels and save them.

    Parameters
    ----------
    path : Path
        Image to write; the suffix decides the format.
    title : str
        Heading.
    runs : sequence of LearnedRun
        The one that learns, and the control.
    """
    with styled():
        figure = Figure(
            figsize=(11.5, 5.4), dpi=130, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
        )
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=_FONT + 2, fontweight="bold")
        halves: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1.0))
        _residuals(halves[0].subplots(), runs)
        above, below = halves[1].subplots(2, 1, sharex=True, height_ratios=(1.0, 1.6))
        _strides(above, runs)
        _energies(below, runs)
        figure.savefig(path)


def _residuals(axis: Any, runs: Sequence[LearnedRun]) -> None:
    for run, shade in zip(runs, _COLOURS, strict=True):
        count = np.arange(1, len(run.residual) + 1)
        axis.plot(count, run.residual / MEV, ".", color=shade, alpha=0.35, markersize=5)
        # In the logarithm, or the first would hide those that follow it.
        powers = np.log(np.maximum(run.residual, 1e-9) / MEV)
        lines = [np.exp(powers[max(0, i - _WINDOW) : i].mean()) for i in count]
        axis.plot(count, lines, color=shade, linewidth=2.2, label=run.name)
    axis.set_yscale("log")
    axis.set_xlabel("labels: one for each evaluation of the physics", fontsize=_FONT)
    axis.set_ylabel("residual force at the landing, meV/\N{ANGSTROM SIGN}", fontsize=_FONT)
    low, high = axis.get_ylim()
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low <= t <= high]
    axis.set_yticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()
    axis.grid(axis="y", color="0.9", linewidth=0.6)
    axis.set_xlim(0, None)
    axis.set_title("Each landing is predicted before it is learned", fontsize=_FONT)
    axis.legend(fontsize=_FONT, frameon=False)


def _strides(axis: Any, runs: Sequence[LearnedRun]) -> None:
    for run, shade in zip(runs, _COLOURS, strict=True):
        style = "-" if run.learns else "--"
        axis.stairs(run.stride_fs, run.time, color=shade, linewidth=2.0, baseline=None,
                    linestyle=style, label=run.name)  # fmt: skip
    axis.set_ylim(0.0, 1.15 * max(float(run.stride_fs.max()) for run in runs))
    axis.set_ylabel("stride, fs", fontsize=_FONT)
    axis.set_title("The stride grows as far as the potential is good", fontsize=_FONT)


def _energies(axis: Any, runs: Sequence[LearnedRun]) -> None:
    for run, shade in reversed(list(zip(runs, _COLOURS, strict=True))):
        change = (run.energy - run.energy[0]) / MEV / run.atoms
        axis.plot(run.time, change, color=shade, linewidth=1.2, label=run.name)
    axis.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axis.set_xlabel("time, fs", fontsize=_FONT)
    axis.set_ylabel("total energy, meV/atom", fontsize=_FONT)
    axis.set_title("Total energy of the physics, change since the start", fontsize=_FONT)
    axis.set_xlim(0.0, max(float(run.time[-1]) for run in runs))
