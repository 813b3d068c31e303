"""The picture of an observable along trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kstep_integrators.files import atomic_file
from kstep_integrators.observables.observable import Observable
from kstep_training.figure_style import FILL, PALETTE, POINTS, make_figure, styled
from kstep_training.observables.observe.averages import Average

__all__ = ["draw_observed", "save_picture"]

Array = npt.NDArray[np.float64]

BEHIND = 60
"""Spectra of single frames that are drawn behind their mean."""


def draw_observed(
    observable: Observable, runs: Sequence[Mapping[str, Array]], average: Average, file: Path
) -> None:
    """Draw a coupling's course, distribution and memory, or a mean spectrum with its spread.

    Parameters
    ----------
    observable : Observable
    runs : sequence of mapping
        Arrays of each trajectory, and its ``time_fs``.
    average : Average
    file : Path
        A PNG.
    """
    with styled():
        figure = make_figure(2.6 if observable.kind == "coupling" else 3.2)
        if observable.kind == "coupling":
            _draw_coupling(figure, runs, average)
        else:
            _draw_spectrum(figure, runs, average)
        figure.suptitle(
            f"{observable.header.name}: {observable.kind}, {average.frames} frames", fontsize=9.5
        )
        save_picture(figure, file)


def save_picture(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, atomically."""
    FigureCanvasAgg(figure)
    with atomic_file(file) as handle:
        figure.savefig(handle, format="png", dpi=160)


def _draw_coupling(figure: Figure, runs: Sequence[Mapping[str, Array]], average: Average) -> None:
    course, distribution, memory = figure.subplots(1, 3, width_ratios=[2.2, 1.0, 1.2])
    values = [1000.0 * run["coupling"] for run in runs]
    unit = 1.0
    for number, run in enumerate(runs):
        time, label = _axis(run["time_fs"])
        unit = float(time[1] - time[0]) if len(time) > 1 else 1.0
        chosen = np.linspace(0, len(time) - 1, min(len(time), 4 * POINTS)).astype(int)
        colour = PALETTE[number % len(PALETTE)]
        course.plot(time[chosen], values[number][chosen], color=colour, lw=0.7)
        course.set_xlabel(label)
        memory.set_xlabel(f"lag, {label}")
    course.set_ylabel("coupling (meV)")
    together = np.concatenate(values)
    bins = int(np.clip(np.sqrt(len(together)), 8, 60))
    distribution.hist(together, bins=bins, density=True, color=FILL, orientation="horizontal")
    distribution.axhline(1000.0 * average.mean, color=PALETTE[2], lw=1.2)
    distribution.set_xlabel("density (1/meV)")
    distribution.sharey(course)
    memory.set_ylabel("autocorrelation")
    memory.axhline(0.0, color=FILL, lw=0.8)
    if average.autocorrelation is not None:
        kept = average.autocorrelation[:POINTS]
        memory.plot(unit * np.arange(len(kept)), kept, color=PALETTE[0])


def _axis(time_fs: Array) -> tuple[Array, str]:
    if np.isnan(time_fs).any():
        return np.arange(len(time_fs), dtype=np.float64), "frame"
    return (time_fs - time_fs[0]) / 1000.0, "time (ps)"


def _draw_spectrum(figure: Figure, runs: Sequence[Mapping[str, Any]], average: Average) -> None:
    axes = figure.subplots()
    energies = runs[0]["energies"][0]
    spectra = np.concatenate([run["spectrum"] for run in runs])
    chosen = np.linspace(0, len(spectra) - 1, min(len(spectra), BEHIND)).astype(int)
    for number in chosen:
        axes.plot(energies, spectra[number], color=FILL, lw=0.5, zorder=1)
    mean, spread = np.array(average.mean), np.array(average.spread)
    axes.fill_between(
        energies, mean - spread, mean + spread, color=PALETTE[1], alpha=0.35, lw=0, zorder=2,
        label="spread over the frames",
    )  # fmt: skip
    axes.plot(energies, mean, color=PALETTE[0], lw=1.5, zorder=3, label="mean")
    axes.set_xlabel("photon energy (eV)")
    axes.set_ylabel("oscillator strength per absorber (1/eV)")
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False)
