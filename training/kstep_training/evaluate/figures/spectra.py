"""Vibrational spectra, overlaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kstep_training.evaluate.figures.style import FILL, POINTS, colour, make_figure, styled, svg
from kstep_training.evaluate.motion import run_spectra
from kstep_training.evaluate.plan import REFERENCE, TRUTH, Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings

__all__ = ["spectra"]


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
        if found and base and method.name not in (REFERENCE, TRUTH):
            rows.append((method.name, found, base))
    if not rows:
        return None
    with styled():
        figure = make_figure(0.42 * len(rows) + 0.75)
        axis = figure.subplots()
        tall = max(np.mean([s.density for s in base], axis=0).max() for _, _, base in rows)
        for level, (name, found, base) in enumerate(reversed(rows)):
            nu = base[0].wavenumbers
            kept = np.flatnonzero(nu <= 4200.0)
            kept = kept[:: max(1, len(kept) // POINTS)]
            other = 0.92 * np.mean([s.density for s in base], axis=0)[kept] / tall
            mine = 0.92 * np.mean([s.density for s in found], axis=0)[kept] / tall
            axis.fill_between(nu[kept], level, level + other, color=FILL, lw=0)
            axis.plot(nu[kept], level + np.minimum(mine, 1.6), color=colour(name), linewidth=0.9)
            axis.text(4220.0, level + 0.08, name, color=colour(name), fontsize=8,
                      fontweight="bold")  # fmt: skip
        axis.set_xlim(0.0, 4200.0)
        axis.set_ylim(-0.05, len(rows) + 0.5)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_xlabel("wavenumber, cm\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}")
        return svg(figure)
