"""The density of a new geometry, guessed from those of earlier ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from kstep_integrators.calculators.pyscf.density import Array, Overlap, from_lowdin

__all__ = ["GUESSES", "Entry", "History", "aspc_weights", "kernel_weights"]

GUESSES = ("extrapolate", "aspc", "last", "atomic")
"""Starting densities of an SCF; ``"atomic"`` is PySCF's own guess."""

_LENGTH = 2.0 / 3.0
"""Length scale of the kernel, angstrom, times the square root of the number of atoms."""
_NUGGET = 1e-12
"""Variance of the noise in converged densities, over that of the densities."""
_ASPC_LENGTH = 4


@dataclass(frozen=True)
class Entry:
    """A converged density.

    Attributes
    ----------
    positions : (n_atoms, 3) angstrom
    mixed : (..., n, n)
        In Löwdin's basis.
    occupations : (..., n)
        Ascending.
    """

    positions: npt.NDArray[np.float64]
    mixed: Array
    occupations: Array


def kernel_weights(
    known: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights of known geometries in a function at a wanted one: kernel least squares.

    The function is modelled as a constant plus a Gaussian process of the Cartesian coordinates
    (Rasmussen & Williams, *Gaussian Processes for Machine Learning*, MIT Press 2006, section 2.7),
    with a length scale far above the steps of a trajectory. In that limit the weights extrapolate
    like the highest polynomial that the history supports, whatever the spacing and order of the
    geometries, and the nugget keeps them bounded.

    Parameters
    ----------
    known : (m, n_atoms, 3) angstrom
    wanted : (n_atoms, 3) angstrom

    Returns
    -------
    (m,)
        They add up to 1.
    """
    count = len(known)
    scale = 2.0 * _LENGTH**2 * known.shape[1]
    points = known.reshape(count, -1)
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = np.exp(-distances / scale) + _NUGGET * np.eye(count)
    system[count, count] = 0.0
    side = np.append(np.exp(-((points - wanted.ravel()) ** 2).sum(-1) / scale), 1.0)
    weights: npt.NDArray[np.float64] = np.linalg.lstsq(system, side, rcond=1e-15)[0][:count]
    return weights


def aspc_weights(count: int) -> npt.NDArray[np.float64]:
    """Kolafa's always stable predictor for equal steps, oldest first (doi:10.1002/jcc.10385).

    Parameters
    ----------
    count : int
        Number of earlier steps, at least 2 (with 1, that one is repeated).

    Returns
    -------
    (count,)
        ``B_j = (-1)^(j+1) j C(2k+4, k+2-j) / C(2k+2, k+1)`` for j = count..1, k = count - 2.
    """
    if count == 1:
        return np.ones(1)
    k = count - 2
    newest_first = [
        (-1.0) ** (j + 1) * j * comb(2 * k + 4, k + 2 - j) / comb(2 * k + 2, k + 1)
        for j in range(1, count + 1)
    ]
    return np.array(newest_first[::-1])


class History:
    """The last converged densities, keyed by geometry.

    Parameters
    ----------
    guess : str
        One of :data:`GUESSES`.
    size : int
        Densities kept.
    """

    def __init__(self, guess: str = "extrapolate", size: int = 20) -> None:
        self.guess = guess
        self.size = size
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all densities: those of another molecule, charge or basis mean nothing."""
        self._entries.clear()

    def put(self, key: Hashable, entry: Entry) -> None:
        """Keep a density and drop the oldest beyond the size."""
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)

    def predict(self, positions: npt.NDArray[np.float64], overlap: Overlap) -> Array | None:
        """A density for a new geometry.

        Parameters
        ----------
        positions : (n_atoms, 3) angstrom
        overlap : Overlap
            At these positions.

        Returns
        -------
        (..., n, n) or None
            None if there is nothing to start from.
        """
        entries = list(self._entries.values())
        if self.guess == "atomic" or not entries:
            return None
        if self.guess == "last":
            entries = entries[-1:]
            weights = np.ones(1)
        elif self.guess == "aspc":
            entries = entries[-_ASPC_LENGTH:]
            weights = aspc_weights(len(entries))
        else:
            weights = kernel_weights(np.stack([e.positions for e in entries]), positions)
        mixed = sum(w * e.mixed for w, e in zip(weights, entries, strict=True))
        return from_lowdin(np.asarray(mixed), entries[-1].occupations, overlap)
