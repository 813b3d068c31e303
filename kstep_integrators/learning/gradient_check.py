"""The check of the physics itself: whether its forces are the gradient of its energy.

The first evaluations of a run are points of a path, with an energy and forces at each. The energies
of a sound method differ along it by the work of its forces, whatever the path is
(:mod:`kstep_integrators.learning.path_work`). Nothing is evaluated for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.path_work import PathPart, parts_of_path

__all__ = ["GradientVerdict", "check_gradient"]

_ENERGY_NOISE = 2e-5
"""eV: about 1e-6 hartree, the convergence of energies."""
_FARTHEST = 0.35
"""Angstrom that an atom may move from one point to the next."""
_NEAREST = 1e-6
"""Angstrom that one has to move at least: two ways to the same geometry end a rounding apart, as a
jump of one base step that was undone and made again with the physics does."""
_SHARP = 0.05
"""eV/angstrom that a check has to be able to see, to say anything for the physics."""


@dataclass(frozen=True)
class GradientVerdict:
    """Verdict of the first evaluations of a run on its physics.

    Attributes
    ----------
    wrong : bool
        Whether the forces are not the gradient of the energy, beyond doubt.
    force_error : float, eV/angstrom
        Energy difference less the work of the forces, over the length of the path: an error of the
        forces along the displacements. The root mean square over the parts of the path, each by its
        weight.
    error_bar : float, eV/angstrom
        What of it may be the quadrature and the convergence of the method.
    differences : tuple of float, eV
        Energy differences of the parts of the path.
    works : tuple of float, eV
        What the forces say they are.
    points : int
        Evaluations that were compared.
    """

    wrong: bool
    force_error: float
    error_bar: float
    differences: tuple[float, ...]
    works: tuple[float, ...]
    points: int

    @property
    def sharp(self) -> bool:
        """True if an error of 0.05 eV/angstrom would have been seen: displacements were short."""
        return self.error_bar <= _SHARP

    @property
    def scale(self) -> float:
        """Energy differences over works, by least squares; 1 if forces are the gradient."""
        works = np.array(self.works)
        return float(works @ np.array(self.differences) / max(float(works @ works), 1e-300))

    def text(self) -> str:
        """The verdict in a sentence or two."""
        found = (
            f"{self.force_error:.2g} +- {self.error_bar:.1g} eV/angstrom along the first "
            f"displacements ({self.points} evaluations: energies changed by "
            f"{_numbers(self.differences)} eV, the work of the forces says {_numbers(self.works)})"
        )
        if self.wrong:
            return (
                f"the forces of the physics are not the gradient of its energy: they are off by "
                f"{found}. Total energies will drift and a Metropolis test will reject, whatever "
                "is learned: converge the calculator more tightly, look for a term that one of "
                "both lacks, or use another one"
            )
        if not self.sharp:
            return (
                f"whether the forces of the physics are the gradient of its energy could not be "
                f"told to better than {self.error_bar:.1g} eV/angstrom: the first displacements "
                "were too long"
            )
        return f"the forces of the physics are the gradient of its energy: off by {found}"


def check_gradient(
    labels: Sequence[Label], energy_noise: float = _ENERGY_NOISE
) -> GradientVerdict | None:
    """Compare energy differences along the first geometries of a run with the work of its forces.

    Parameters
    ----------
    labels : sequence of Label
        In the order in which they came; of one molecule or several. Those without forces, those of
        a geometry that the one before has, and pairs between which an atom has moved more than
        0.35 angstrom, are left out.
    energy_noise : float, eV
        Convergence of the energies; that of single precision is found out.

    Returns
    -------
    GradientVerdict or None
        None if there are not two geometries to be compared. ``wrong`` is only ever true beyond the
        error bar, which shrinks with the square of the displacements from two points on, and with
        higher powers from three and from five.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> atoms, labels = molecule("H2O"), []
    >>> atoms.calc = EMT()
    >>> for _ in range(3):
    ...     atoms.positions[1, 1] += 0.01
    ...     energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    ...     labels.append(Label.of(atoms, energy, 1.1 * forces))
    >>> verdict = check_gradient(labels)
    >>> verdict.wrong, round(1 / verdict.scale, 2)
    (True, 1.1)
    """
    parts: list[PathPart] = []
    count = 0
    for path in _paths(labels):
        noise = max(energy_noise, _single(path))
        count += len(path)
        parts += [one for points in _split(path) for one in parts_of_path(points, noise)]
    if not parts:
        return None
    # Parts weigh by what they can tell: the long ones do not hide what the short ones have seen.
    weights = np.array([(part.length / part.tolerance) ** 2 for part in parts])
    errors = np.array([(part.difference - part.work) / part.length for part in parts])
    error = math.sqrt(float(weights @ errors**2) / float(weights.sum()))
    bar = math.sqrt(len(parts) / float(weights.sum()))
    return GradientVerdict(
        wrong=error > bar,
        force_error=error,
        error_bar=bar,
        differences=tuple(part.difference for part in parts),
        works=tuple(part.work for part in parts),
        points=count,
    )


def _paths(labels: Sequence[Label]) -> Iterator[list[Label]]:
    """Labels with forces that follow each other closely, molecule by molecule."""
    for molecule in dict.fromkeys(label.molecule for label in labels):
        path: list[Label] = []
        for label in labels:
            if label.molecule != molecule or label.forces is None:
                continue
            moved = _moved(path[-1], label) if path else 0.0
            if path and moved < _NEAREST:
                continue
            if moved > _FARTHEST:
                if len(path) > 1:
                    yield path
                path = []
            path.append(label)
        if len(path) > 1:
            yield path


def _split(path: list[Label]) -> Iterator[list[Label]]:
    """Parts of five points, then of three and two, that share their ends."""
    first = 0
    for size in (5, 3, 2):
        while first + size <= len(path):
            yield path[first : first + size]
            first += size - 1


def _moved(one: Label, other: Label) -> float:
    """The farthest that an atom has moved, angstrom; infinite for what is not the same system."""
    same = np.array_equal(one.numbers, other.numbers) and np.array_equal(one.cell, other.cell)
    if not same:
        return math.inf
    return float(np.linalg.norm(other.positions - one.positions, axis=1).max())


def _single(path: list[Label]) -> float:
    """The noise of energies in single precision; 0 if they are not."""
    energies = np.array([point.energy for point in path])
    rounded = energies.astype(np.float32)
    if not np.array_equal(rounded.astype(np.float64), energies):
        return 0.0
    return 4.0 * float(np.spacing(np.abs(rounded)).max())


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.5f}" for value in values[:3])
    return shown + (", ..." if len(values) > 3 else "")
