"""The coupling of a dimer by any method, and what a network is told of the dimer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kstep_integrators.observables.couplings.descriptors import plane_angle, separation
from kstep_integrators.observables.couplings.dimer import Dimer, as_dimer
from kstep_integrators.observables.couplings.dipro import (
    Chosen,
    Coupling,
    Mixture,
    dipro,
    participation,
)
from kstep_integrators.observables.couplings.orbitals import Array, Orbitals, check_carrier
from kstep_integrators.observables.couplings.pyscf_orbitals import mean_field, parse_method
from kstep_integrators.observables.couplings.tblite_orbitals import (
    TIGHT_BINDING,
    tight_binding,
)
from kstep_integrators.observables.couplings.tracking import (
    OrbitalReference,
    orbital_reference,
    project,
    track,
)

__all__ = ["DimerState", "dimer_coupling", "dimer_state"]


@dataclass(frozen=True)
class DimerState:
    """A dimer as GFN2-xTB sees it: its coupling, and what a network is told of it.

    Attributes
    ----------
    coupling : Coupling
        Of the orbitals of the reference, projected on those of the molecules as they are.
    reference : OrbitalReference
        The one that the phases are those of.
    molecule : (N,) int64
        0 or 1 for each atom.
    populations : (N, 3) float64
        Electrons in s, p and d functions of each atom.
    orbital : (N, 4) float64
        Amplitudes of the projected orbital of each atom's molecule in orthogonalized valence
        functions s, px, py, pz of the atom.
    dipole : (3,) float64
        e angstrom.
    quadrupole : (6,) float64
        e angstrom^2, traceless, about the mean of the positions: xx, xy, yy, xz, yz, zz.
    separation : float
        Distance between the molecules' centres, angstrom.
    angle : float
        Between their planes, radian, from 0 to pi/2.
    participation : float
        Molecules that the dimer's frontier orbital is spread over, from 1 to 2.

    Examples
    --------
    >>> from ase.build import molecule
    >>> one, other = molecule("C2H4"), molecule("C2H4")
    >>> other.translate([4.0, 0.0, 0.0])
    >>> state = dimer_state(one + other)
    >>> round(state.separation, 6), round(state.participation, 6)
    (4.0, 2.0)
    """

    coupling: Coupling
    reference: OrbitalReference
    molecule: NDArray[np.int64]
    populations: Array
    orbital: Array
    dipole: Array
    quadrupole: Array
    separation: float
    angle: float
    participation: float


def dimer_coupling(
    atoms: Atoms,
    method: str = "GFN2-xTB",
    carrier: str = "hole",
    reference: OrbitalReference | None = None,
    projected: bool = False,
) -> Coupling:
    """Electronic coupling between the two molecules of a dimer (DIPRO).

    Parameters
    ----------
    atoms : ase.Atoms
        Two neutral closed shells in open space.
    method : str
        ``"GFN2-xTB"``, ``"GFN1-xTB"``, or a functional and a basis of PySCF, as ``"HF/def2-SVP"``
        or ``"PBE0/def2-SVP"`` (with density fitting).
    carrier : str
        ``"hole"`` for the highest occupied orbitals, ``"electron"`` for the lowest empty ones.
    reference : OrbitalReference, optional
        Of :func:`orbital_reference` of a frame of the same atoms: the orbitals most like those are
        taken, with their phases, so that signs of different frames and methods can be compared.
        Without it the frontier orbitals are taken, and the value is not negative.
    projected : bool
        Whether the reference's orbitals themselves are taken, projected on those that the carrier
        can be in: a smooth function of the geometry, also where orbitals mix. Not for electrons in
        a large basis, whose empty orbitals hold much else than the valence.

    Returns
    -------
    Coupling
        eV.

    Raises
    ------
    ValueError
        If there are not two molecules, one is charged or has an open shell, an element is not
        covered, the method or the carrier is unknown, the reference is of other atoms, or there is
        none to be projected.
    AmbiguousOrbital
        If no orbital of a molecule is like that of the reference.
    RuntimeError
        If a calculation does not converge.

    Examples
    --------
    >>> from ase.build import molecule
    >>> one, other = molecule("C2H4"), molecule("C2H4")
    >>> other.translate([4.0, 0.0, 0.0])
    >>> round(dimer_coupling(one + other).value, 3)  # eV
    0.034
    """
    check_carrier(carrier)
    dimer = as_dimer(atoms)
    first, second, joined = _orbitals(dimer, method)
    if reference is None:
        if projected:
            raise ValueError(
                "projected is True and reference is None, expected the orbitals to be projected; "
                "make them with orbital_reference(atoms, carrier)"
            )
        return dipro(first, second, joined, carrier).positive
    chosen = _chosen(reference, carrier, dimer, first, second, project if projected else track)
    return dipro(first, second, joined, carrier, chosen)


def dimer_state(
    atoms: Atoms, carrier: str = "hole", reference: OrbitalReference | None = None
) -> DimerState:
    """A dimer as GFN2-xTB sees it: its coupling, populations, moments, distance and angle.

    Parameters
    ----------
    atoms : ase.Atoms
        Two neutral closed shells in open space.
    carrier : str
        ``"hole"`` or ``"electron"``.
    reference : OrbitalReference, optional
        As for :func:`dimer_coupling`; without it that of these molecules. It takes longer than all
        else: make it once for all frames of a trajectory.

    Returns
    -------
    DimerState

    Raises
    ------
    ValueError, AmbiguousOrbital, RuntimeError
        As for :func:`dimer_coupling` and :func:`orbital_reference`.

    Examples
    --------
    >>> from ase.build import molecule
    >>> one, other = molecule("C2H4"), molecule("C2H4")
    >>> other.translate([3.8, 0.5, 0.0])
    >>> state = dimer_state(one + other)
    >>> state.populations.shape, round(float(state.populations.sum()), 6)
    ((12, 3), 24.0)
    """
    check_carrier(carrier)
    dimer = as_dimer(atoms)
    first, second = tight_binding(dimer.first).orbitals, tight_binding(dimer.second).orbitals
    joined = tight_binding(dimer.joined)
    if reference is None:
        reference = orbital_reference(atoms, carrier)
    chosen = _chosen(reference, carrier, dimer, first, second, project)
    populations = np.empty_like(joined.populations)
    populations[dimer.order] = joined.populations
    orbital = np.empty((len(atoms), 4))
    pairs = zip((first, second), chosen, strict=True)
    orbital[dimer.order] = np.concatenate(
        [orbitals.mixed(its.weights(len(orbitals.energies))) for orbitals, its in pairs]
    )
    return DimerState(
        coupling=dipro(first, second, joined.orbitals, carrier, chosen),
        reference=reference,
        molecule=dimer.molecule,
        populations=populations,
        orbital=orbital,
        dipole=joined.dipole,
        quadrupole=joined.quadrupole,
        separation=separation(dimer.first, dimer.second),
        angle=plane_angle(dimer.first, dimer.second),
        participation=participation(joined.orbitals, len(dimer.first), carrier),
    )


def _chosen(
    reference: OrbitalReference,
    carrier: str,
    dimer: Dimer,
    first: Orbitals,
    second: Orbitals,
    find: Callable[[OrbitalReference, int, Atoms, Orbitals], Chosen | Mixture],
) -> tuple[Chosen | Mixture, Chosen | Mixture]:
    """The orbitals of both molecules that are those of the reference, with their signs."""
    if reference.carrier != carrier:
        raise ValueError(
            f"carrier is {carrier!r}, and the reference is one of carrier={reference.carrier!r}, "
            "expected the same; make another with orbital_reference(atoms, carrier)"
        )
    one = find(reference, 0, dimer.first, first)
    return one, find(reference, 1, dimer.second, second)


def _orbitals(dimer: Dimer, method: str) -> tuple[Orbitals, Orbitals, Orbitals]:
    """Orbitals of both molecules and of the dimer, the first molecule's atoms first."""
    if not isinstance(method, str):
        raise TypeError(f"method is {method!r}, expected text, as 'GFN2-xTB' or 'HF/def2-SVP'")
    if method in TIGHT_BINDING:
        parts = (dimer.first, dimer.second, dimer.joined)
        first, second, joined = (tight_binding(part, method).orbitals for part in parts)
        return first, second, joined
    functional, basis = parse_method(method)
    one = mean_field(dimer.first, functional, basis)
    other = mean_field(dimer.second, functional, basis)
    both = mean_field(dimer.joined, functional, basis, parts=(one, other))
    return one.orbitals, other.orbitals, both.orbitals
