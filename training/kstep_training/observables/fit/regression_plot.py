"""Pictures of predictions: predicted against true couplings, and spectra with their truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kstep_training.figure_style import FILL, PALETTE, make_figure, styled, svg

__all__ = ["regression_picture", "spectra_picture"]

Array = npt.NDArray[np.float64]


def regression_picture(
    parts: Mapping[str, tuple[Array, Array]], errors: Mapping[str, Mapping[str, float]]
) -> str:
    """Predicted against reference couplings, one panel for each part.

    Parameters
    ----------
    parts : mapping of str to ((S,), (S,)) eV
        Reference and predicted couplings of each part.
    errors : mapping of str to mapping
        Errors of each part: :func:`~kstep_training.observables.fit.errors.coupling_errors`.

    Returns
    -------
    str
        The text of an SVG file.

    Examples
    --------
    >>> import numpy as np
    >>> picture = regression_picture(
    ...     {"test": (np.array([0.01, 0.02]), np.array([0.01, 0.03]))},
    ...     {"test": {"mae": 5.0, "r2": -1.0, "mape": 25.0}},
    ... )
    >>> picture.startswith("<?xml")
    True
    """
    with styled():
        figure = make_figure(2.6)
        panels: Any = figure.subplots(1, len(parts), squeeze=False)
        for axes, (name, (reference, predicted)) in zip(panels[0], parts.items(), strict=True):
            ends = 1e3 * np.array(
                [min(reference.min(), predicted.min()), max(reference.max(), predicted.max())]
            )
            axes.plot(ends, ends, color=FILL, linewidth=1.0)
            axes.plot(1e3 * reference, 1e3 * predicted, ".", color=PALETTE[0], markersize=3.0)
            its = errors[name]
            axes.set_title(name.replace("_", " "))
            axes.text(
                0.04,
                0.96,
                f"MAE {its['mae']:.2f} meV\nMAPE {its['mape']:.1f} %\nR$^2$ {its['r2']:.3f}",
                transform=axes.transAxes,
                verticalalignment="top",
            )
            axes.set_xlabel("reference / meV")
        panels[0][0].set_ylabel("predicted / meV")
        return svg(figure)


def spectra_picture(
    parts: Mapping[str, tuple[Array, Array]], energies: Array, errors: Mapping[str, Array]
) -> str:
    """Spectra of a part at the 10th, 50th and 90th percentile of their errors.

    Parameters
    ----------
    parts : mapping of str to ((A, E), (A, E)) 1/eV
        Reference and predicted spectra of each part.
    energies : (E,) eV
        From the edge.
    errors : mapping of str to (A,)
        Of each spectrum.

    Returns
    -------
    str
        The text of an SVG file.

    Examples
    --------
    >>> import numpy as np
    >>> spectra = np.ones((3, 4))
    >>> picture = spectra_picture(
    ...     {"test": (spectra, spectra)}, np.arange(4.0), {"test": np.zeros(3)}
    ... )
    >>> picture.startswith("<?xml")
    True
    """
    shares = (0.1, 0.5, 0.9)
    with styled():
        figure = make_figure(1.7 * len(parts))
        panels: Any = figure.subplots(len(parts), len(shares), squeeze=False, sharex=True)
        for row, (name, (reference, predicted)) in zip(panels, parts.items(), strict=True):
            order = np.argsort(errors[name])
            for axes, share in zip(row, shares, strict=True):
                i = order[round(share * (len(order) - 1))]
                axes.plot(energies, reference[i], color=FILL, linewidth=2.5, label="reference")
                axes.plot(energies, predicted[i], color=PALETTE[0], linewidth=1.0, label="network")
                axes.set_title(f"{name.replace('_', ' ')}, {share:.0%}: {errors[name][i]:.1e}")
            row[0].set_ylabel("absorption / eV$^{-1}$")
        panels[0][0].legend(frameon=False)
        for axes in panels[-1]:
            axes.set_xlabel("energy from the edge / eV")
        return svg(figure)
