"""Radial distributions, overlaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kstep_training.evaluate.figures.style import FILL, colour, make_figure, styled, svg

__all__ = ["radial"]


def radial(
    found: Mapping[str, Sequence[Any]], reference: Mapping[str, Sequence[Any]]
) -> str | None:
    """Radial distributions of each pair of elements, over those of the reference."""
    pairs = [pair for pair in found if pair in reference][:6]
    if not pairs:
        return None
    with styled():
        figure = make_figure(1.7 * -(-len(pairs) // 3) + 0.3)
        axes = figure.subplots(-(-len(pairs) // 3), 3, squeeze=False)
        for axis, pair in zip(axes.flat, pairs, strict=False):
            r = reference[pair][0].distances
            axis.fill_between(r, np.mean([g.density for g in reference[pair]], 0), color=FILL)
            r = found[pair][0].distances
            mine = np.mean([g.density for g in found[pair]], 0)
            axis.plot(r, mine, color=colour("trajectory"), linewidth=1.0)
            axis.set_title(f"{pair}, \N{ANGSTROM SIGN}")
        for axis in axes.flat[len(pairs) :]:
            axis.set_visible(False)
        return svg(figure)
