"""Simple predictions of spectra that a network has to beat: means, and nearest neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from kstep_training.observables.samples.samples import Array
from kstep_training.observables.samples.spectrum_samples import SpectrumSamples

__all__ = ["mean_spectra", "nearest_spectra", "sorted_distances"]

_NEIGHBOURS = 8
"""Distances that describe an absorber, for each element."""


def mean_spectra(train: SpectrumSamples, samples: SpectrumSamples) -> Array:
    """The mean training spectrum of the same absorbing element of the same molecule.

    Of a molecule that is not in the training set, the mean over all absorbers of the element.

    Parameters
    ----------
    train, samples : SpectrumSamples

    Returns
    -------
    (rows, E) 1/eV
        For each absorber of ``samples``.

    Raises
    ------
    ValueError
        If the training set has no absorber of an element.
    """
    kinds, its_kinds = train.kind[train.owner], samples.kind[samples.owner]
    elements, rows = train.absorber, train.rows
    known: dict[tuple[str, int], Array] = {}
    for key in set(zip(its_kinds.tolist(), samples.absorber.tolist(), strict=True)):
        of_element = elements == key[1]
        if not of_element.any():
            raise ValueError(f"no absorber of atomic number {key[1]} is in the training set")
        same = of_element & (kinds == key[0])
        known[key] = rows[same if same.any() else of_element].mean(0)
    keys = zip(its_kinds.tolist(), samples.absorber.tolist(), strict=True)
    return np.array([known[key] for key in keys])


def sorted_distances(
    numbers: npt.ArrayLike, positions: npt.ArrayLike, absorber: int, elements: list[int]
) -> Array:
    """Inverse distances of an absorber to its nearest atoms of each element, nearest first.

    Parameters
    ----------
    numbers : (N,)
    positions : (N, 3) angstrom
    absorber : int
    elements : list of int

    Returns
    -------
    (8 * elements,) 1/angstrom
        Zero where there are fewer atoms of an element.

    Examples
    --------
    >>> found = sorted_distances([6, 8, 8], [[0, 0, 0], [0, 0, 2.0], [0, 1.0, 0]], 0, [6, 8])
    >>> found[[0, 8, 9, 10]].tolist()
    [0.0, 1.0, 0.5, 0.0]
    """
    z, x = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    others = np.arange(len(z)) != absorber
    inverse = np.zeros(len(z))
    inverse[others] = 1.0 / np.linalg.norm(x[others] - x[absorber], axis=1)
    described = np.zeros((len(elements), _NEIGHBOURS))
    for row, element in zip(described, elements, strict=True):
        nearest = np.sort(inverse[others & (z == element)])[::-1][:_NEIGHBOURS]
        row[: len(nearest)] = nearest
    return described.ravel()


def nearest_spectra(train: SpectrumSamples, samples: SpectrumSamples) -> Array:
    """The training spectrum of the absorber whose surroundings are most alike.

    Parameters
    ----------
    train, samples : SpectrumSamples

    Returns
    -------
    (rows, E) 1/eV
        For each absorber of ``samples``: the spectrum of that of the same element whose
        :func:`sorted_distances` are nearest.

    Raises
    ------
    ValueError
        If the training set has no absorber of an element.
    """
    elements = sorted({*train.elements, *samples.elements})
    known, asked = (_described(one, elements) for one in (train, samples))
    absorbers, found = samples.absorber, np.empty((len(asked), len(train.energies)))
    for element in set(absorbers.tolist()):
        of_element, wanted = train.absorber == element, absorbers == element
        if not of_element.any():
            raise ValueError(f"no absorber of atomic number {element} is in the training set")
        _, places = KDTree(known[of_element]).query(asked[wanted])
        found[wanted] = train.rows[of_element][places]
    return found


def _described(samples: SpectrumSamples, elements: list[int]) -> Array:
    return np.array(
        [
            sorted_distances(graph.z.numpy(), graph.pos.numpy(), absorber, elements)
            for graph in samples.graphs
            for absorber in graph.absorber_index.tolist()
        ]
    )
