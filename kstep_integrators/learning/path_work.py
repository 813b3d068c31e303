"""The work of forces along a path of points, and how far it can be relied on.

Energies of a sound method differ along a path x(s) by the work of its forces,

    E(b) - E(a) = - integral from a to b of F(x(s)) . x'(s) ds.

Path and forces are interpolated by polynomials in the length of the chords through two, three or
five points, and the integral of those is exact (where the points are even, the trapezoidal rule,
Simpson's and Boole's). How much a rule differs from the one below says how far it can be relied on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kstep_integrators.learning.labels import Label

__all__ = ["PathPart", "parts_of_path"]

Array = npt.NDArray[np.float64]

_FORCE_NOISE = 3e-3
"""eV/angstrom along a displacement that every method is granted: grids, unconverged densities."""
_ANHARMONICITY = 1.0
"""1/angstrom: third over second derivatives of a bond, over six and rounded up (Morse: a / 2)."""


@dataclass(frozen=True)
class PathPart:
    """A part of a path.

    Attributes
    ----------
    difference : float, eV
        Of the energies of its ends.
    work : float, eV
        What the forces say that it is.
    length : float, angstrom
        Of its chords, in all coordinates.
    tolerance : float, eV
        What both may differ by for a sound method.
    """

    difference: float
    work: float
    length: float
    tolerance: float


def parts_of_path(points: Sequence[Label], energy_noise: float) -> list[PathPart]:
    """The parts of a path of two, three or five points with forces; two of them for five.

    Parameters
    ----------
    points : sequence of Label
        Of one molecule, each another geometry.
    energy_noise : float, eV
        Convergence of an energy.
    """
    x = np.array([point.positions.ravel() for point in points])
    f = np.array([_forces(point).ravel() for point in points])
    steps = np.linalg.norm(np.diff(x, axis=0), axis=1)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    turn = 0.0
    if len(s) > 2:
        turns = np.linalg.norm(np.diff(x, 2, axis=0), axis=1) / (0.5 * (steps[1:] + steps[:-1]))
        turn = float(turns.max())
    parts, size = [], min(3, len(s))
    for first in range(0, len(s) - 1, size - 1):
        here = slice(first, first + size)
        error, work = min(_rules(points[here], s[here], x[here], f[here], turn, (s, x, f)))
        length = float(s[here][-1] - s[here][0])
        difference = points[here][-1].energy - points[here][0].energy
        tolerance = error + 2.0 * energy_noise + _FORCE_NOISE * length
        parts.append(PathPart(difference, work, length, tolerance))
    return parts


def _rules(
    points: Sequence[Label], s: Array, x: Array, f: Array, turn: float,
    whole: tuple[Array, Array, Array],
) -> list[tuple[float, float]]:  # fmt: skip
    """Bounds of the error of the rules for a part, and the work that they give, eV."""
    ends = range(len(s) - 1)
    chords = sum(_work(s[i : i + 2], x[i : i + 2], f[i : i + 2]) for i in ends)
    # The rule on the chords is exact for springs, and so are the others on any path: what they
    # leave is anharmonic, and less than on the chords only as far as the path is resolved.
    bound = 2.0 * sum(_bound(points[i], points[i + 1]) for i in ends)
    rules = [(bound, chords)]
    if len(s) > 2:
        parabola = _work(s, x, f)
        rules.append((max(abs(parabola - chords), bound * max(0.05, turn**2)), parabola))
        if len(whole[0]) > 3:
            best = _work(*whole, float(s[0]), float(s[-1]))
            rules.append((max(abs(best - parabola), bound * max(0.01, turn**4)), best))
    return rules


def _work(
    s: Array, x: Array, f: Array, begin: float | None = None, end: float | None = None
) -> float:
    """Minus the integral of F . x' on polynomials in s through all points; all of it by default."""
    low, high = float(s[0] if begin is None else begin), float(s[-1] if end is None else end)
    length = float(s[-1] - s[0])
    nodes, weights = np.polynomial.legendre.leggauss(len(s))  # exact to degree 2 n - 1
    at = (low + 0.5 * (high - low) * (nodes + 1.0) - s[0]) / length
    inverse = np.linalg.inv(np.vander((s - s[0]) / length, increasing=True))
    here = np.vander(at, len(s), increasing=True)
    slopes = np.zeros_like(here)
    slopes[:, 1:] = here[:, :-1] * np.arange(1, len(s)) / length
    power = ((here @ inverse @ f) * (slopes @ inverse @ x)).sum(1)
    return -0.5 * (high - low) * float(weights @ power)


def _bound(one: Label, other: Label) -> float:
    """About the error of the trapezoidal rule between two points, eV, for bonds of molecules."""
    moved = other.positions - one.positions
    change = _forces(other) - _forces(one)
    farthest = float(np.linalg.norm(moved, axis=1).max())
    # |g''| / 12 of the force along the way g, from |g'| atom by atom, which may cancel in the sum.
    return 0.5 * _ANHARMONICITY * farthest * float(np.abs((change * moved).sum(1)).sum())


def _forces(label: Label) -> Array:
    if label.forces is None:
        raise ValueError("a point of the path has no forces")
    return label.forces
