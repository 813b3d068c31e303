"""Labelled core excitations as spectra to fit to, broadened when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kstep_integrators.observables.networks.graphs import structure_graph
from kstep_training.keys import setting
from kstep_training.observables.samples.broadening import Broadening, broaden, energy_grid
from kstep_training.observables.samples.samples import Array, Samples

__all__ = ["GridSettings", "SpectrumSamples", "spectrum_grid", "spectrum_samples"]

_MARGIN = 3.0
"""Of the grid before the first excitation, in widths of a line."""


@dataclass(frozen=True)
class GridSettings:
    """Energies of spectra, and widths of their lines.

    Lines above the ionization energy stand for a continuum, of which a basis of Gaussians has a few
    states at energies of its own. They are widened there as is the custom with X-ray absorption by
    transition potentials (doi:10.1103/PhysRevB.58.8097): a constant width below, one that grows in
    proportion to the energy above, and a constant one from some 10 eV on.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> GridSettings(gaussian=0.5, widest=4.5).lines
    Broadening(gaussian=0.5, lorentzian=0.0, growth=0.4, edge=6.0, widest=4.5)
    """

    start_eV: float | None = setting(
        None,
        "first energy, from the lowest excitation of the element in all frames; null: three widths "
        "before it",
        "eV",
    )
    stop_eV: float | None = setting(
        None,
        "last energy, counted likewise; null: up to where all frames have excitations, the lowest "
        "of their highest, less what lines there are wider than the first",
        "eV",
    )
    spacing: float = setting(0.1, "distance of the energies", "eV")
    gaussian: float = setting(
        0.8, "full width at half maximum of lines below ionization, Gaussian part", "eV"
    )
    ionization_eV: float = setting(
        6.0,
        "energy from which lines widen, counted from the lowest excitation of the element in all "
        "frames",
        "eV",
    )
    rise_eV: float = setting(10.0, "how far above that they are widest", "eV")
    widest: float | None = setting(
        4.5,
        "width there and beyond, Gaussian part; null: all lines have the same width",
        "eV",
    )
    lorentzian: float = setting(0.0, "full width at half maximum, Lorentzian part", "eV")

    def __post_init__(self) -> None:
        if not 0.0 < self.spacing < np.inf:
            raise ValueError(f"spacing is {self.spacing}, expected a positive number in eV")
        if not 0.0 < self.rise_eV < np.inf:
            raise ValueError(f"rise_eV is {self.rise_eV}, expected a positive number in eV")
        _ = self.lines  # checks the widths

    @property
    def lines(self) -> Broadening:
        """The lines."""
        if self.widest is None:
            return Broadening(self.gaussian, self.lorentzian)
        growth = max(self.widest - self.gaussian, 0.0) / self.rise_eV
        return Broadening(self.gaussian, self.lorentzian, growth, self.ionization_eV, self.widest)


@dataclass(frozen=True)
class SpectrumSamples(Samples):
    """Structures with a spectrum of each absorber.

    Attributes
    ----------
    spectra : tuple of (A, E) 1/eV
        Of the absorbers of each frame.
    energies : (E,) eV
        From the edge of the absorbing element, the same for all.
    edges : dict of int to float
        Energies from which they are counted, eV, by atomic numbers.

    Examples
    --------
    See :func:`spectrum_samples`.
    """

    spectra: tuple[Array, ...]
    energies: Array
    edges: dict[int, float]

    shared: ClassVar[tuple[str, ...]] = ("energies", "edges")

    @property
    def rows(self) -> Array:
        """Spectra of all absorbers of all frames, one after the other, (rows, E)."""
        return np.concatenate(self.spectra)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """The sample of each row."""
        return np.repeat(np.arange(len(self)), [len(spectra) for spectra in self.spectra])

    @property
    def absorber(self) -> npt.NDArray[np.int64]:
        """Atomic number of the absorber of each row."""
        return np.concatenate([graph.z[graph.absorber_index].numpy() for graph in self.graphs])

    @property
    def spacing(self) -> float:
        """Distance of the energies, eV."""
        return float(self.energies[1] - self.energies[0])


def spectrum_grid(
    parts: Sequence[Mapping[str, Any]], settings: GridSettings
) -> tuple[Array, dict[int, float]]:
    """Energies that the spectra of labels are on, from the edges of their elements.

    Parameters
    ----------
    parts : sequence of mapping
        Arrays of each part of a folder of labels.
    settings : GridSettings

    Returns
    -------
    energies : (E,) eV
    edges : dict of int to float
        The lowest excitation in all frames, eV, by the atomic number of the absorbers.

    Raises
    ------
    ValueError
        If they do not rise.

    Examples
    --------
    >>> part = {
    ...     "numbers": np.array([6, 8]), "absorbers": np.array([0]),
    ...     "excitations": np.array([[285.0, 290.0], [286.0, 291.0]]),
    ... }
    >>> energies, edges = spectrum_grid([part], GridSettings(spacing=0.5, gaussian=1.0))
    >>> energies[[0, -1]].tolist(), edges
    ([-3.0, 5.0], {6: 285.0})
    """
    lowest: dict[int, float] = {}
    highest: dict[int, float] = {}
    for part in parts:
        element, excitations = _element(part), part["excitations"]
        first, last = float(excitations.min()), float(excitations.max(-1).min())
        lowest[element] = min(first, lowest.get(element, first))
        highest[element] = min(last, highest.get(element, last))
    start, stop = settings.start_eV, settings.stop_eV
    if start is None:
        start = -_MARGIN * (settings.gaussian + settings.lorentzian)
    if stop is None:
        stop = min(highest[element] - edge for element, edge in lowest.items())
        # Lines beyond the last excitation that is known would reach down to here.
        stop -= float(settings.lines.gaussian_at(stop)) - settings.gaussian
    return energy_grid(start, stop, settings.spacing), dict(sorted(lowest.items()))


def spectrum_samples(parts: Sequence[Mapping[str, Any]], settings: GridSettings) -> SpectrumSamples:
    """The samples of labelled excitations.

    Parameters
    ----------
    parts : sequence of mapping
        Arrays of each part of a folder of labels:
        :func:`~kstep_training.observables.labels.label_folder.read_labels`. Strengths are shared
        out by ``shares`` or, of labels that lack them, by ``hole``: then spectra of absorbers whose
        excitations nearly coincide jump between structures, and only their sum is smooth.
    settings : GridSettings

    Raises
    ------
    ValueError
        If there is no frame.

    Examples
    --------
    >>> part = {
    ...     "numbers": np.array([6, 8]), "positions": np.array([[[0, 0, 0], [0, 0, 1.1]]]),
    ...     "absorbers": np.array([0]), "excitations": np.array([[285.0, 290.0]]),
    ...     "strengths": np.array([[0.1, 0.02]]), "shares": np.array([[[0.1], [0.02]]]),
    ...     "trajectory": np.array("run"), "kind": np.array("CO"), "frame": np.array([0]),
    ... }
    >>> samples = spectrum_samples([part], GridSettings())
    >>> samples.rows.shape, round(float(samples.energies[samples.rows[0].argmax()]), 6)
    ((1, 75), 0.0)
    """
    parts = [part for part in parts if len(part["frame"])]
    if not parts:
        raise ValueError("the folder of labels holds no frame; label trajectories first")
    energies, edges = spectrum_grid(parts, settings)
    graphs, spectra, names = [], [], []
    for part in parts:
        excitations = part["excitations"] - edges[_element(part)]
        strengths = part.get("shares")
        if strengths is None:  # labels of older versions
            strengths = part["strengths"][..., None] * part["hole"]
        made = broaden(excitations, strengths, energies, settings.lines)
        for i, frame in enumerate(part["frame"].tolist()):
            graphs.append(
                structure_graph(
                    part["numbers"],
                    part["positions"][i],
                    part["absorbers"].tolist(),
                    {"spectrum": made[i]},
                )
            )
            spectra.append(made[i])
            names.append((str(part["trajectory"]), str(part["kind"]), frame))
    trajectory, kind, frames = zip(*names, strict=True)
    return SpectrumSamples(
        tuple(graphs),
        np.array(trajectory),
        np.array(kind),
        np.array(frames, dtype=np.int64),
        spectra=tuple(spectra),
        energies=energies,
        edges=edges,
    )


def _element(part: Mapping[str, Any]) -> int:
    """Atomic number of the absorbers of a part."""
    return int(part["numbers"][part["absorbers"][0]])
