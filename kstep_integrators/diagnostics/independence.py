"""Test of the independence of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # it loads its parts when they are first asked for, half a second of imports
from numpy.typing import ArrayLike, NDArray

__all__ = ["Alignment", "momentum_alignment"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """Likeness of the momenta of two runs, for the most alike pair of a set.

    Attributes
    ----------
    pair : (int, int)
    cosine : float
        Of the angle between their mass-weighted momenta.
    p_value : float
        Probability that independent runs have a pair with a cosine of this size or more.

    Examples
    --------
    >>> import numpy as np
    >>> momenta = np.random.default_rng(0).normal(size=(3, 20, 3))
    >>> momenta[2] = momenta[0]  # the same seed
    >>> alignment = momentum_alignment(momenta, np.ones(20), degrees=60)
    >>> alignment.pair, round(alignment.cosine, 6)
    ((0, 2), 1.0)
    """

    pair: tuple[int, int]
    cosine: float
    p_value: float


def momentum_alignment(momenta: ArrayLike, masses: ArrayLike, degrees: int) -> Alignment:
    r"""Test of independence of runs at one time of each.

    At a temperature, mass-weighted momenta :math:`p_i / \sqrt{m_i}` are normal with the same
    variance along every direction that is free, so that the direction of the whole vector is
    uniform on a sphere and :math:`(1 + \cos) / 2` of two independent ones has a beta distribution
    with both parameters :math:`(d - 1) / 2`. Runs that share a seed, of starts or of noise, point
    in the same direction. The probability is corrected for the number of pairs (Bonferroni).

    Parameters
    ----------
    momenta : array_like
        Shape (R, N, 3), ASE units: one frame of each run, of atoms in the same orientation.
    masses : array_like
        Shape (N,), u.
    degrees : int
        Of freedom, d.

    Raises
    ------
    ValueError
        For fewer than two runs, shapes that do not fit, momenta that are not finite or all zero, or
        fewer than two degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> momenta = np.random.default_rng(0).normal(size=(3, 20, 3))
    >>> momentum_alignment(momenta, np.ones(20), degrees=60).p_value > 0.01
    True
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    if p.ndim != 3 or p.shape[2] != 3 or m.shape != p.shape[1:2] or len(p) < 2:
        raise ValueError(
            f"momenta and masses have shapes {p.shape} and {m.shape}; expected (R, N, 3) of two "
            "runs or more, and (N,)"
        )
    if degrees < 2:
        raise ValueError(f"degrees is {degrees}; a direction needs two degrees of freedom or more")
    vectors = (p / np.sqrt(m)[:, None]).reshape(len(p), -1)
    norms = np.linalg.norm(vectors, axis=1)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ValueError("momenta of a run are zero or not finite; expected thermal momenta")
    units = vectors / norms[:, None]
    cosines = units @ units.T
    rows, columns = np.triu_indices(len(p), 1)
    sizes = np.abs(cosines[rows, columns])
    worst = int(sizes.argmax())
    shape = 0.5 * (degrees - 1)
    cosine = min(float(sizes[worst]), 1.0)
    tail = 2.0 * float(scipy.stats.beta.sf(0.5 * (1.0 + cosine), shape, shape))
    return Alignment(
        (int(rows[worst]), int(columns[worst])),
        float(cosines[rows[worst], columns[worst]]),
        min(1.0, tail * len(sizes)),
    )
