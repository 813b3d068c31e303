"""Couplings and descriptors: symmetries, signs of two methods, orbitals that cross, refusals."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from kstep_integrators import named_molecule
from kstep_integrators.observables.couplings import (
    AmbiguousOrbital,
    OrbitalReference,
    dimer_coupling,
    dimer_state,
    orbital_reference,
    split_dimer,
)
from kstep_integrators.observables.couplings.dimer import as_dimer
from kstep_integrators.observables.couplings.dipro import Mixture, dipro
from kstep_integrators.observables.couplings.pyscf_orbitals import mean_field
from kstep_integrators.observables.couplings.tblite_orbitals import tight_binding
from kstep_integrators.observables.couplings.tracking import project, track
from tests.observables.couplings.dimers import askew, cofacial, flat

TURN = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()


def tensor(quadrupole: np.ndarray) -> np.ndarray:
    xx, xy, yy, xz, yz, zz = quadrupole
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


@pytest.mark.parametrize("carrier", ["hole", "electron"])
def test_turned_and_moved(carrier: str) -> None:
    atoms = askew()
    moved = Atoms(atoms.numbers, atoms.positions @ TURN.T + [3.0, -2.0, 1.0])
    reference = orbital_reference(atoms, carrier)
    one, other = dimer_state(atoms, carrier, reference), dimer_state(moved, carrier, reference)
    assert other.coupling.value == pytest.approx(one.coupling.value, abs=1e-9)
    assert abs(one.coupling.value) > 1e-3
    assert other.populations == pytest.approx(one.populations, abs=1e-8)
    assert other.dipole == pytest.approx(TURN @ one.dipole, abs=1e-7)
    turned = TURN @ tensor(one.quadrupole) @ TURN.T
    assert tensor(other.quadrupole) == pytest.approx(turned, abs=1e-6)
    assert np.trace(tensor(one.quadrupole)) == pytest.approx(0.0, abs=1e-10)
    for name in ("separation", "angle", "participation"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9)


def test_atoms_in_another_order_and_molecules_swapped() -> None:
    atoms = askew()
    order = np.random.default_rng(2).permutation(len(atoms))
    order = order[np.argsort(order != order.max(), kind="stable")]  # begins with a furan atom
    mixed = atoms[order]
    one, other = dimer_state(atoms), dimer_state(mixed)
    assert other.molecule.tolist() == (1 - one.molecule[order]).tolist()
    assert abs(other.coupling.value) == pytest.approx(abs(one.coupling.value), abs=1e-9)
    assert other.populations == pytest.approx(one.populations[order], abs=1e-8)
    assert other.dipole == pytest.approx(one.dipole, abs=1e-7)
    assert other.quadrupole == pytest.approx(one.quadrupole, abs=1e-6)
    for name in ("separation", "angle", "participation"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9)


def test_mean_field_turned_and_swapped() -> None:
    atoms = askew("ethene", "ethene")
    swapped = atoms[[*range(6, 12), *range(6)]]
    turned = Atoms(swapped.numbers, swapped.positions @ TURN.T)
    one, other = (dimer_coupling(frame, "HF/sto-3g").value for frame in (atoms, turned))
    assert one == pytest.approx(other, abs=1e-6)  # as far as the SCF converges
    assert one > 1e-2


def test_signs_of_two_methods_while_one_molecule_slides_across_the_other() -> None:
    """Couplings of pi orbitals change sign where lobes meet nodes; both methods agree where."""
    slides = np.arange(0.0, 4.01, 0.4)
    frames = [cofacial(3.6, slide) for slide in slides]
    reference = orbital_reference(frames[0])
    tight = np.array([dimer_coupling(atoms, reference=reference).value for atoms in frames])
    field = np.array(
        [dimer_coupling(atoms, "HF/sto-3g", reference=reference).value for atoms in frames]
    )
    assert (tight > 0.0).any() or (tight < 0.0).any()
    clear = (np.abs(tight) > 2e-3) & (np.abs(field) > 2e-3)
    assert clear.sum() >= 6
    assert (np.sign(tight[clear]) == np.sign(field[clear])).all()
    # Smooth: no sign is flipped by chance from one frame to the next.
    assert np.abs(np.diff(tight, 2)).max() < 0.6 * np.abs(tight).max()


def test_sign_does_not_depend_on_the_solver() -> None:
    """Eigenvectors come with either sign; the reference takes that out."""
    dimer = as_dimer(askew())
    reference = orbital_reference(askew())
    orbitals = tight_binding(dimer.first).orbitals
    negative = dataclasses.replace(orbitals, shapes=-orbitals.shapes)
    one, other = (track(reference, 0, dimer.first, each) for each in (orbitals, negative))
    assert (one.index, one.sign) == (other.index, -other.sign)


def test_couplings_do_not_depend_on_the_frame_that_the_reference_is_relaxed_from() -> None:
    frames = [cofacial(3.8, 1.0) for _ in range(4)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.06, seed=number)
    found = [
        abs(dimer_coupling(frames[0], reference=orbital_reference(atoms), projected=True).value)
        for atoms in frames
    ]
    assert np.ptp(found) < 5e-6  # eV
    assert min(found) > 1e-3


def test_orbitals_that_have_changed_places() -> None:
    dimer = as_dimer(askew())
    reference = orbital_reference(askew())
    orbitals = tight_binding(dimer.second).orbitals
    order = np.arange(len(orbitals.energies))
    homo = orbitals.occupied - 1
    order[[homo - 1, homo]] = order[[homo, homo - 1]]
    crossed = dataclasses.replace(orbitals, shapes=orbitals.shapes[:, :, order])
    assert track(reference, 1, dimer.second, orbitals).index == homo
    assert track(reference, 1, dimer.second, crossed).index == homo - 1


def test_orbitals_that_mix() -> None:
    dimer = as_dimer(askew())
    reference = orbital_reference(askew())
    orbitals = tight_binding(dimer.second).orbitals
    homo = orbitals.occupied - 1
    shapes = orbitals.shapes.copy()
    angle = np.deg2rad(50.0)  # the frontier orbital stays the one up to 54.7 degrees
    shapes[:, :, homo] = np.cos(angle) * orbitals.shapes[:, :, homo]
    shapes[:, :, homo - 1] = np.sin(angle) * orbitals.shapes[:, :, homo]
    mixed = dataclasses.replace(orbitals, shapes=shapes)
    assert track(reference, 1, dimer.second, mixed).index == homo
    lost = dataclasses.replace(orbitals, shapes=0.4 * orbitals.shapes)
    with pytest.raises(AmbiguousOrbital, match="several orbitals mix at this geometry"):
        track(reference, 1, dimer.second, lost)


def test_a_projected_orbital_does_not_see_how_orbitals_mix() -> None:
    """Any rotation among the orbitals that a hole can be in leaves the coupling where it is."""
    atoms = askew()
    dimer, reference = as_dimer(atoms), orbital_reference(atoms)
    second = tight_binding(dimer.second).orbitals
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(second.occupied,) * 2))
    coefficients, shapes = second.coefficients.copy(), second.shapes.copy()
    coefficients[:, : second.occupied] @= turn
    shapes[:, :, : second.occupied] @= turn
    mixed = dataclasses.replace(second, coefficients=coefficients, shapes=shapes)
    first = tight_binding(dimer.first).orbitals
    joined = tight_binding(dimer.joined).orbitals
    found = [
        dipro(
            first,
            each,
            joined,
            chosen=(
                project(reference, 0, dimer.first, first),
                project(reference, 1, dimer.second, each),
            ),
        ).value
        for each in (second, mixed)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    assert found[0] == pytest.approx(dimer_state(atoms, reference=reference).coupling.value)
    # At the minimum it is the frontier orbital.
    tracked = dimer_coupling(atoms, reference=reference).value
    assert found[0] == pytest.approx(tracked, rel=0.1)
    lost = dataclasses.replace(second, shapes=0.4 * second.shapes)
    with pytest.raises(AmbiguousOrbital, match="of the orbital of the reference is left"):
        project(reference, 1, dimer.second, lost)
    with pytest.raises(ValueError, match="a mixture has 2 amplitudes, expected one for each of 3"):
        Mixture(np.ones(2)).weights(3)
    with pytest.raises(ValueError, match="projected is True and reference is None"):
        dimer_coupling(atoms, projected=True)


def test_shapes_of_both_methods_are_alike() -> None:
    molecule = flat(named_molecule("furan"))
    tight = tight_binding(molecule).orbitals
    field = mean_field(molecule, "HF", "def2-SVP").orbitals
    one = tight.shapes[:, :, tight.occupied - 1]
    other = field.shapes[:, :, field.occupied - 1]
    assert abs(float((one * other).sum())) > 0.9
    assert float((other**2).sum()) == pytest.approx(1.0, abs=0.1)
    # Of a pi orbital, only the functions across the plane take part.
    assert np.abs(one[:, :3]).max() < 1e-6
    assert np.abs(other[:, :3]).max() < 1e-6


def test_populations_and_moments() -> None:
    state = dimer_state(cofacial(3.8, name="furan"))
    assert state.populations.sum() == pytest.approx(52.0, abs=1e-9)
    assert state.populations[:, 2] == pytest.approx(0.0, abs=1e-12)
    hydrogen = cofacial(3.8, name="furan").numbers == 1
    assert state.populations[hydrogen, 1] == pytest.approx(0.0, abs=1e-12)
    # Quadrupole of charges: 3/2 r r - 1/2 r^2, twice that of one charge of each of two ions.
    far = tight_binding(Atoms("LiF", [[0.0, 0.0, -0.8], [0.0, 0.0, 0.8]]))
    assert far.quadrupole[[1, 3, 4]] == pytest.approx(0.0, abs=1e-8)
    assert far.quadrupole[0] == pytest.approx(far.quadrupole[2], abs=1e-8)
    assert far.quadrupole[5] == pytest.approx(-2.0 * far.quadrupole[0], abs=1e-8)


def test_distance_and_angle() -> None:
    one = flat(named_molecule("ethene"))
    other = one.copy()
    other.rotate(30.0, "x")
    other.translate([0.0, 0.0, 4.0])
    state = dimer_state(one + other)
    assert state.separation == pytest.approx(4.0, abs=1e-12)
    assert state.angle == pytest.approx(np.pi / 6, abs=1e-9)


def test_two_molecules() -> None:
    assert split_dimer(askew()).tolist() == [0] * 6 + [1] * 9
    alone = named_molecule("ethene")
    with pytest.raises(ValueError, match="consists of 1 separate molecule, judged by its bonds"):
        split_dimer(alone)
    three = cofacial(4.0) + Atoms("He", [[0.0, 0.0, 9.0]])
    with pytest.raises(ValueError, match="consists of 3 separate molecules"):
        dimer_coupling(three)
    boxed = cofacial(4.0)
    boxed.set_cell([20.0, 20.0, 20.0])
    boxed.pbc = True
    with pytest.raises(ValueError, match="expected two molecules in open space"):
        split_dimer(boxed)
    broken = cofacial(4.0)
    broken.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        split_dimer(broken)


def test_refusals() -> None:
    atoms = cofacial(4.0)
    with pytest.raises(TypeError, match=r"expected an ase\.Atoms of two molecules"):
        dimer_coupling("ethene")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="carrier is 'holes', expected 'hole'"):
        dimer_coupling(atoms, carrier="holes")
    with pytest.raises(ValueError, match="carrier is 'holes', expected 'hole'"):
        dimer_state(atoms, "holes")
    with pytest.raises(ValueError, match="method is 'GFN2', expected 'GFN2-xTB'"):
        dimer_coupling(atoms, "GFN2")
    with pytest.raises(TypeError, match="method is None, expected text"):
        dimer_coupling(atoms, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not know the functional 'PBE7'"):
        dimer_coupling(atoms, "PBE7/def2-SVP")
    with pytest.raises(ValueError, match="PySCF has no basis 'def9' for C2H4"):
        dimer_coupling(atoms, "HF/def9")
    charged = atoms.copy()
    charged.info["charge"] = 1
    with pytest.raises(ValueError, match="has charge 1, expected a neutral dimer"):
        dimer_coupling(charged)
    triplet = atoms.copy()
    triplet.info["multiplicity"] = 3
    with pytest.raises(ValueError, match="has multiplicity 3, expected a closed shell"):
        dimer_coupling(triplet)
    radicals = Atoms("OHOH", [[0, 0, 0], [0, 0, 0.97], [4, 0, 0], [4, 0, 0.97]])
    with pytest.raises(ValueError, match="molecule 0 of the dimer, HO, has 9 electrons"):
        dimer_coupling(radicals)
    heavy = Atoms("RnFm", [[0, 0, 0], [0, 0, 6]])
    with pytest.raises(ValueError, match="the atomic number 100, expected elements from hydrogen"):
        dimer_coupling(heavy)


def test_degenerate_orbitals_are_refused() -> None:
    one = named_molecule("benzene")
    other = one.copy()
    other.translate(8.0 * np.linalg.svd(one.positions - one.positions.mean(0))[2][2])
    with pytest.raises(AmbiguousOrbital, match=r"highest occupied .* C6H6, is near-degenerate"):
        orbital_reference(one + other)


def test_reference_of_other_atoms() -> None:
    reference = orbital_reference(cofacial(4.0))
    with pytest.raises(ValueError, match="expected the same atoms in the same order"):
        dimer_coupling(askew(), reference=reference)
    with pytest.raises(ValueError, match="the reference is one of carrier='hole'"):
        dimer_state(cofacial(4.0), "electron", reference)


def test_single_atom_as_a_molecule() -> None:
    """One without orientation: its orbital is turned by nothing."""
    reference = OrbitalReference(
        "hole", (np.array([2]), np.array([2])), (np.zeros((1, 3)),) * 2, (np.eye(4)[:1],) * 2
    )
    pair = Atoms("He2", [[0, 0, 0], [0, 0, 2.5]])
    assert abs(dimer_coupling(pair, reference=reference).value) > 1e-4


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(ImportError, match="HF/sto-3g need PySCF"):
        dimer_coupling(cofacial(4.0), "HF/sto-3g")
    monkeypatch.setitem(sys.modules, "tblite", None)
    with pytest.raises(ImportError, match="need tblite"):
        dimer_coupling(cofacial(4.0))


def test_molecules_in_one_place_are_refused_by_the_scf() -> None:
    """Nearer than any bond they are one molecule; a failed SCF is named."""
    with pytest.raises(ValueError, match="consists of 1 separate molecule"):
        dimer_coupling(cofacial(0.5))
