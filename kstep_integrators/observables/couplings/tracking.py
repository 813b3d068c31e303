"""Orbitals known again, with their phases, in other frames and other methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from ase import Atoms

from kstep_integrators.observables.couplings.dimer import as_dimer
from kstep_integrators.observables.couplings.dipro import Chosen, Mixture
from kstep_integrators.observables.couplings.orbitals import Array, Orbitals, check_carrier
from kstep_integrators.observables.couplings.tblite_orbitals import tight_binding

__all__ = ["AmbiguousOrbital", "OrbitalReference", "orbital_reference", "project", "track"]

DEGENERATE: Final = 0.02
"""eV; orbitals at a minimum that are nearer to each other are degenerate by symmetry, or almost."""

CROSSED: Final = 2.0
"""Square overlap with the reference over that of the frontier orbital, from which an orbital has
taken its place: between, the two mix, and the frontier orbital stays the one."""

FORCE, STEPS = 1e-3, 300
"""Of a relaxation: largest force left, eV/angstrom, and steps at most."""

LOST: Final = 0.25
"""Square overlap with the reference below which an orbital is not known again."""


class AmbiguousOrbital(ValueError):
    """Several orbitals of a molecule are equally good, and no coupling of one of them means much.

    Examples
    --------
    >>> issubclass(AmbiguousOrbital, ValueError)
    True
    """


@dataclass(frozen=True)
class OrbitalReference:
    """Frontier orbitals of both molecules at rest, which those of frames are compared with.

    Attributes
    ----------
    carrier : str
    numbers : tuple of two (n,) int64
        Atomic numbers of each molecule.
    positions : tuple of two (n, 3) float64
        angstrom.
    shapes : tuple of two (n, 4) float64
        The orbital in orthogonalized valence functions s, px, py, pz of each atom.

    Examples
    --------
    >>> from ase.build import molecule
    >>> one, other = molecule("C2H4"), molecule("C2H4")
    >>> other.translate([4.0, 0.0, 0.0])
    >>> orbital_reference(one + other).shapes[0].shape
    (6, 4)
    """

    carrier: str
    numbers: tuple[Array, Array]
    positions: tuple[Array, Array]
    shapes: tuple[Array, Array]

    @property
    def turned(self) -> OrbitalReference:
        """The same with the other phase of the second molecule's orbital: other signs."""
        return replace(self, shapes=(self.shapes[0], -self.shapes[1]))


def orbital_reference(atoms: Atoms, carrier: str = "hole") -> OrbitalReference:
    """Frontier orbitals of a dimer's molecules, each alone at its minimum, by GFN2-xTB.

    At the minimum they are those that the molecule is known by. In a frame of a run, in which it is
    bent and stretched, they mix with others, and their order may have changed.

    Parameters
    ----------
    atoms : ase.Atoms
        Two neutral closed shells in open space. Each is relaxed from here.
    carrier : str
        ``"hole"`` or ``"electron"``.

    Returns
    -------
    OrbitalReference
        The largest component of each orbital is positive.

    Raises
    ------
    AmbiguousOrbital
        If the frontier orbital of a molecule is near-degenerate, as those of benzene: which of the
        pair a charge is in then depends on the least distortion.
    ValueError
        As for :func:`~kstep_integrators.observables.couplings.dimer_coupling`.

    Examples
    --------
    >>> from ase.build import molecule
    >>> one, other = molecule("C2H4"), molecule("C2H4")
    >>> other.translate([4.0, 0.0, 0.0])
    >>> orbital_reference(one + other).carrier
    'hole'
    """
    check_carrier(carrier)
    dimer = as_dimer(atoms)
    relaxed = [_relaxed(part) for part in (dimer.first, dimer.second)]
    shapes = [_frontier(index, part, carrier) for index, part in enumerate(relaxed)]
    one, other = relaxed
    return OrbitalReference(
        carrier,
        (one.numbers, other.numbers),
        (one.positions, other.positions),
        (shapes[0], shapes[1]),
    )


def _relaxed(part: Atoms) -> Atoms:
    """A molecule at its minimum, or as near as it comes."""
    from ase.optimize import BFGS

    from kstep_integrators.calculators import xtb_calculator

    moving = part.copy()
    moving.calc = xtb_calculator("GFN2-xTB")
    BFGS(moving, logfile=None).run(fmax=FORCE, steps=STEPS)
    return Atoms(moving.numbers, moving.positions)


def _frontier(index: int, part: Atoms, carrier: str) -> Array:
    """The frontier orbital of a molecule, with its largest component positive."""
    orbitals = tight_binding(part).orbitals
    frontier = orbitals.frontier(carrier)
    for other in orbitals.candidates(carrier):
        apart = abs(float(orbitals.energies[frontier] - orbitals.energies[other]))
        if other != frontier and apart < DEGENERATE:
            raise AmbiguousOrbital(
                f"the {'highest occupied' if carrier == 'hole' else 'lowest empty'} orbital of "
                f"molecule {index}, {part.get_chemical_formula()}, is near-degenerate: at the "
                f"minimum another is {apart:.3f} eV from it, expected at least {DEGENERATE} eV. "
                "One coupling does not describe such a pair; take another molecule"
            )
    shape = orbitals.shapes[:, :, frontier]
    # Of components that are equal by symmetry the first, whatever rounding makes of them.
    flat = shape.ravel()
    largest = np.flatnonzero(np.abs(flat) > 0.99 * np.abs(flat).max())[0]
    return np.asarray(shape * np.sign(flat[largest]))


def track(reference: OrbitalReference, index: int, part: Atoms, orbitals: Orbitals) -> Chosen:
    """The orbital of a molecule that is the one of the reference, and its sign.

    The molecule of the reference is turned onto this one (doi:10.1107/S0567739476001873), and its
    orbital with it. The frontier orbital is taken, unless another that the carrier can be in has
    twice its square overlap with the turned one: then their order has changed.

    Parameters
    ----------
    reference : OrbitalReference
    index : int
        Molecule of the dimer, 0 or 1.
    part : ase.Atoms
        It, as it is now.
    orbitals : Orbitals
        Its orbitals, of any method.

    Raises
    ------
    ValueError
        If the atoms are not those of the reference.
    AmbiguousOrbital
        If no orbital is like that of the reference.
    """
    candidates = orbitals.candidates(reference.carrier)
    overlaps = _overlaps(reference, index, part, orbitals)
    best = int(np.argmax(np.abs(overlaps)))
    frontier = orbitals.frontier(reference.carrier) - candidates[0]
    if overlaps[best] ** 2 < CROSSED * overlaps[frontier] ** 2:
        best = frontier
    if overlaps[best] ** 2 < LOST:
        raise AmbiguousOrbital(
            f"the orbital of molecule {index}, {part.get_chemical_formula()}, that is most like "
            f"that of the reference has an overlap of {abs(overlaps[best]):.3f} with it, "
            f"expected at least {LOST**0.5}: several orbitals mix at this geometry, and none is "
            "that of the reference. Leave this frame out, or take a reference nearer to it"
        )
    return Chosen(candidates[best], 1.0 if overlaps[best] >= 0.0 else -1.0)


def project(reference: OrbitalReference, index: int, part: Atoms, orbitals: Orbitals) -> Mixture:
    """The orbital of the reference, in those orbitals of a molecule that a carrier can be in.

    The turned orbital, projected and normalized. A single orbital changes at once where it crosses
    or mixes with another, as those of hot frames do; this mixture follows the geometry smoothly.

    Parameters
    ----------
    reference : OrbitalReference
    index : int
        Molecule of the dimer, 0 or 1.
    part : ase.Atoms
        It, as it is now.
    orbitals : Orbitals
        Its orbitals: the occupied ones in any basis, the empty ones in a minimal basis, such as
        GFN2-xTB's. Of the empty ones of a large basis only a part is in the valence functions that
        shapes are of.

    Raises
    ------
    ValueError
        If the atoms are not those of the reference.
    AmbiguousOrbital
        If hardly anything is left of the orbital.
    """
    overlaps = _overlaps(reference, index, part, orbitals)
    left = float(overlaps @ overlaps)
    if left < LOST:
        raise AmbiguousOrbital(
            f"{left:.3f} of the orbital of the reference is left in those that a "
            f"{reference.carrier} can be in of molecule {index}, {part.get_chemical_formula()}, "
            f"expected at least {LOST}. Leave this frame out, or take a reference nearer to it"
        )
    amplitudes = np.zeros(len(orbitals.energies))
    amplitudes[list(orbitals.candidates(reference.carrier))] = overlaps / np.sqrt(left)
    return Mixture(amplitudes)


def _overlaps(reference: OrbitalReference, index: int, part: Atoms, orbitals: Orbitals) -> Array:
    """Overlaps of the turned orbital with those that a carrier can be in."""
    if not np.array_equal(reference.numbers[index], part.numbers):
        raise ValueError(
            f"molecule {index} of the dimer is {part.get_chemical_formula()} with the atomic "
            f"numbers {part.numbers.tolist()}, and that of the reference has "
            f"{reference.numbers[index].tolist()}, expected the same atoms in the same order"
        )
    rotation = _rotation(reference.positions[index], part.positions)
    turned = reference.shapes[index].copy()
    turned[:, 1:] = turned[:, 1:] @ rotation.T
    candidates = orbitals.candidates(reference.carrier)
    return np.asarray(np.einsum("ac,aci->i", turned, orbitals.shapes[:, :, list(candidates)]))


def _rotation(before: Array, after: Array) -> Array:
    """Rotation that turns positions about their mean onto others, as well as it can."""
    left, _, right = np.linalg.svd((after - after.mean(0)).T @ (before - before.mean(0)))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray(left @ proper @ right)
