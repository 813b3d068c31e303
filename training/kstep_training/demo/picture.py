"""The picture of a demonstration: energies, evaluations, bond lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from kstep_integrators.diagnostics import bond_lengths
from kstep_integrators.units import MEV, PS
from kstep_training.demo.runs import DemoRun
from kstep_training.evaluate.energy_and_spectra import total_energy
from kstep_training.figure_style import PALETTE, styled

__all__ = ["bond_groups", "draw"]

_CONTROLS: Final = 3
"""Runs from here on are controls: dashed, and with an energy scale of their own."""
_FONT: Final = 11
_GAP: Final = 0.06
"""Bonds of the same elements whose mean lengths differ by more (angstrom) are shown apart."""
_ROWS: Final = 8
"""Bond groups there is room for; the most numerous are kept."""
_MARGIN: Final = 4.0
"""Bond lengths are shown this many standard deviations about their mean."""


def bond_groups(
    reference: DemoRun, pairs: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Bonds of the same elements and similar mean length in the reference run.

    Parameters
    ----------
    reference : DemoRun
        The run whose mean lengths decide.
    pairs : numpy.ndarray
        Shape (B, 2), indices of bonded atoms.

    Returns
    -------
    list of (str, numpy.ndarray)
        Label such as "C-H" and pairs of shape (b, 2), shortest bonds first, at most eight.
    """
    if len(pairs) == 0:
        return []
    means = bond_lengths(reference.record.positions, pairs).mean(axis=0)
    groups: list[tuple[float, str, list[int]]] = []
    last: dict[str, int] = {}
    for bond in np.argsort(means):
        heavy, light = sorted((int(reference.record.numbers[i]) for i in pairs[bond]), reverse=True)
        label = f"{chemical_symbols[heavy]}\N{EN DASH}{chemical_symbols[light]}"
        if light != 1:  # chemists write C-O, but O-H
            label = f"{chemical_symbols[light]}\N{EN DASH}{chemical_symbols[heavy]}"
        if label in last and means[bond] - means[groups[last[label]][2][-1]] < _GAP:
            groups[last[label]][2].append(int(bond))
        else:
            last[label] = len(groups)
            groups.append((float(means[bond]), label, [int(bond)]))
    kept = sorted(sorted(groups, key=lambda group: -len(group[2]))[:_ROWS])
    return [(label, pairs[bonds]) for _, label, bonds in kept]


def draw(path: Path, title: str, runs: Sequence[DemoRun], pairs: NDArray[np.int64]) -> None:
    """Draw the three panels and save them.

    Parameters
    ----------
    path : Path
        Image to write; the suffix decides the format.
    title : str
        Heading.
    runs : sequence of DemoRun
        Reference first.
    pairs : numpy.ndarray
        Shape (B, 2), indices of bonded atoms.
    """
    with styled():
        figure = Figure(
            figsize=(15.0, 5.6), dpi=130, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        )
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=_FONT + 4, fontweight="bold")
        panels: Any = figure.subfigures(1, 3, width_ratios=(1.15, 0.85, 1.0))
        _energies(panels[0], runs)
        _evaluations(panels[1], runs)
        _bonds(panels[2], runs, bond_groups(runs[0], pairs))
        figure.savefig(path)


def _energies(panel: Any, runs: Sequence[DemoRun]) -> None:
    """One strip for each run, as overlaid traces hide each other; controls on their own scale."""
    strips = np.atleast_1d(panel.subplots(len(runs), 1, sharex=True))
    panel.suptitle("Total energy, change since the start", fontsize=_FONT + 1, fontweight="bold")
    panel.supylabel("meV / atom", fontsize=_FONT)
    traces = [total_energy(run.record) for run in runs]
    changes = [
        (energy - energy[0]) / MEV / len(run.record.masses)
        for run, (_, energy) in zip(runs, traces, strict=True)
    ]
    common = np.concatenate(changes[:_CONTROLS])
    for index, (axis, run) in enumerate(zip(strips, runs, strict=True)):
        control = index >= _CONTROLS
        scale = changes[index] if control else common
        low, room = float(scale.min()), max(float(np.ptp(scale)), 1e-6)
        colour, drift = PALETTE[index], run.drift
        axis.plot(traces[index][0] / PS, changes[index], color=colour, linewidth=0.8)
        # Head room, so that the label never lies on the trace.
        axis.set_ylim(low - 0.08 * room, low + 1.5 * room)
        axis.text(
            0.015,
            0.97,
            f"{run.name}:  drift {drift.drift:+.2f} meV/atom/ps,  "
            f"rms {drift.fluctuation:.2f}" + ("  (own scale)" if control else ""),
            transform=axis.transAxes,
            va="top",
            fontsize=_FONT - 2,
            color=colour,
            fontweight="bold",
        )
        axis.tick_params(labelsize=_FONT - 2)
    strips[-1].set_xlabel("time / ps", fontsize=_FONT)
    strips[-1].set_xlim(0.0, max(float(time[-1]) for time, _ in traces) / PS)


def _evaluations(panel: Any, runs: Sequence[DemoRun]) -> None:
    axis = panel.subplots()
    axis.set_title("Force evaluations paid for", fontsize=_FONT + 1)
    for index, (run, colour) in enumerate(zip(runs, PALETTE, strict=False)):
        axis.plot(
            run.record.time / PS,
            run.evaluations,
            color=colour,
            linewidth=2.4,
            # Runs with the same count lie on each other: later ones are dashed, and both show.
            linestyle="-" if index < _CONTROLS else (0, (3, 3)),
            label=f"{run.name}: {run.n_evaluations:,}",
        )
    axis.set_xlim(0.0, None)
    # Head room for the legend above the steepest line.
    axis.set_ylim(0.0, max(run.n_evaluations for run in runs) * 1.42)
    axis.set_xlabel("time / ps", fontsize=_FONT)
    axis.set_ylabel("GFN2 evaluations", fontsize=_FONT)
    axis.legend(loc="upper left", fontsize=_FONT - 1, frameon=False)
    axis.tick_params(labelsize=_FONT - 2)


def _bonds(
    panel: Any,
    runs: Sequence[DemoRun],
    groups: Sequence[tuple[str, NDArray[np.int64]]],
) -> None:
    """One row for each kind of bond, about its mean in the reference run."""
    axis = panel.subplots()
    axis.set_title("Bond lengths", fontsize=_FONT + 1)
    rows = len(groups)
    samples = [
        [bond_lengths(run.record.positions, pairs).ravel() for run in runs] for _, pairs in groups
    ]
    widths = [float(lengths[0].std()) for lengths in samples]
    reach = _MARGIN * max(widths, default=0.02)
    edges = np.linspace(-reach, reach, 61)
    centres = 0.5 * (edges[1:] + edges[:-1])
    for row, ((label, _), lengths) in enumerate(zip(groups, samples, strict=True)):
        base = float(rows - 1 - row)
        centre = float(lengths[0].mean())
        counts = [np.histogram(x - centre, edges)[0] / x.size for x in lengths]
        scale = 0.8 / max(float(count.max()) for count in counts)
        for index, (count, colour) in enumerate(zip(counts, PALETTE, strict=False)):
            height = base + scale * count
            name = runs[index].name if row == 0 else None
            if index == 0:
                axis.fill_between(centres, base, height, color=colour, alpha=0.25, lw=0, label=name)
            else:
                axis.plot(
                    centres,
                    height,
                    color=colour,
                    linewidth=1.8,
                    linestyle="-" if index < _CONTROLS else (0, (3, 2)),
                    label=name,
                )
        axis.axhline(base, color="0.75", linewidth=0.6, zorder=0)
        axis.text(
            -0.98 * reach,
            base + 0.12,
            f"{label}\n{centre:.3f} \N{ANGSTROM SIGN}",
            fontsize=_FONT - 1,
            va="bottom",
        )
    axis.set_xlim(-reach, reach)
    # Head room for the legend, however many rows there are.
    axis.set_ylim(-0.05, max(rows, 1) * 1.22 + 0.1)
    axis.set_yticks([])
    axis.set_xlabel(f"length minus mean of {runs[0].name} / \N{ANGSTROM SIGN}", fontsize=_FONT)
    axis.legend(loc="upper center", ncols=2, fontsize=_FONT - 2, frameon=False)
    axis.tick_params(labelsize=_FONT - 2)
    axis.spines["left"].set_visible(False)
