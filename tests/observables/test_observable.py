"""Observables called with atoms, lists and trajectories, and what they refuse."""

import copy
import dataclasses

import pytest
from ase.build import molecule
from ase.io import Trajectory

from kstep_integrators import KStepWarning, Observable
from kstep_integrators.observables.couplings import dimer_coupling, orbital_reference
from kstep_integrators.observables.observable_file import read_observable, write_observable
from tests.observables.files import couplings_file, ethene_pair, spectra_file
from tests.observables.networks.systems import shaken


@pytest.fixture(scope="module")
def couplings(tmp_path_factory):
    return Observable.load(couplings_file(tmp_path_factory.mktemp("c") / "pairs.safetensors"))


@pytest.fixture(scope="module")
def spectra(tmp_path_factory):
    return Observable.load(spectra_file(tmp_path_factory.mktemp("s") / "carbon.safetensors"))


def turned():
    return [ethene_pair(turn=t) for t in (0.0, 30.0, 60.0, 110.0, 140.0, 180.0)]


def test_a_coupling_without_correction_is_the_cheap_one(couplings):
    found = couplings(ethene_pair())
    assert found.shape == ()
    atoms = ethene_pair()
    expected = dimer_coupling(atoms, reference=orbital_reference(atoms), projected=True).value
    assert float(found) == pytest.approx(abs(expected), abs=1e-6)


@pytest.mark.parametrize("turn", [0.0, 180.0])
def test_the_cheap_coupling_of_the_first_frame_is_positive(couplings, turn):
    frames = [ethene_pair(turn=turn), ethene_pair(turn=180.0 - turn)]
    first, second = couplings(frames)
    assert first > 0.01
    assert second < -0.01


def test_signs_along_frames_are_those_of_the_first(couplings):
    frames = turned()
    known = orbital_reference(frames[0])
    expected = [dimer_coupling(atoms, reference=known, projected=True).value for atoms in frames]
    expected = [value * (1.0 if expected[0] > 0.0 else -1.0) for value in expected]
    assert min(expected) < -0.01 < 0.01 < max(expected)
    assert couplings(frames) == pytest.approx(expected, abs=1e-6)
    again = [float(couplings.measure([atoms], frames[0])["coupling"][0]) for atoms in frames]
    assert again == pytest.approx(expected, abs=1e-6)


def test_a_trajectory_is_a_list(couplings, tmp_path):
    frames = turned()
    with Trajectory(tmp_path / "turned.traj", "w") as writer:
        for atoms in frames:
            writer.write(atoms)
    with Trajectory(tmp_path / "turned.traj") as reader:
        assert couplings(reader).tolist() == couplings(frames).tolist()


def test_spectra_are_means_over_the_absorbers(spectra):
    atoms = molecule("CH3CHO")
    each = spectra.per_absorber(atoms)
    assert each.shape == (2, 4)
    assert (each >= 0.0).all()
    assert spectra(atoms) == pytest.approx(each.mean(axis=0))
    assert spectra([atoms, molecule("CH4")]).shape == (2, 4)
    assert spectra.energies.tolist() == [285.0, 286.0, 287.0, 288.0]
    assert spectra.absorbers(atoms) == [i for i, z in enumerate(atoms.numbers) if z == 6]


def test_an_element_of_several(tmp_path):
    file = spectra_file(tmp_path / "two.safetensors", {6: 285.0, 8: 540.0})
    with pytest.raises(ValueError, match="edges of C, O; say whose"):
        Observable.load(file)
    with pytest.raises(ValueError, match=r"element is 'N', expected one of C, O"):
        Observable.load(file, element="N")
    oxygen = Observable.load(file, element="O")
    assert oxygen.energies[0] == 540.0
    assert len(oxygen.per_absorber(molecule("CH3CHO"))) == 1
    with pytest.raises(ValueError, match=r"element is 'C', but .* is of couplings"):
        Observable.load(couplings_file(tmp_path / "pairs.safetensors"), element="C")


def test_what_is_refused(couplings, spectra):
    charged, periodic = ethene_pair(), ethene_pair()
    charged.info["charge"] = 1
    periodic.set_cell([20, 20, 20])
    periodic.pbc = True
    thiophene = molecule("C4H4S")
    three = ethene_pair() + ethene_pair(8.0)[6:]
    for atoms, said in (
        (thiophene, "C4H4S has S, which observable 'pairs' has not learned; .* among H, C"),
        (charged, "has charge 1, but observable 'pairs' was fitted to 0"),
        (periodic, "is periodic"),
        (molecule("C2H4"), "two"),
        (three, "two"),
        (molecule("C2H4")[:0], "0 atoms"),
    ):
        with pytest.raises(ValueError, match=said):
            couplings(atoms)
    with pytest.raises(ValueError, match="has multiplicity 2, but observable 'carbon' was fitted"):
        spectra(molecule("CH3"))
    with pytest.raises(ValueError, match="no atom of C"):
        spectra(molecule("H2O"))
    with pytest.raises(TypeError, match=r"a structure is str, expected ase\.Atoms"):
        spectra(["water"])
    with pytest.raises(ValueError, match="there are 0 structures"):
        spectra([])


def test_kinds_that_were_not_trained_on_are_warned_of_once(tmp_path):
    """Errors of held-out kinds are in the header; who observes another kind is told them."""
    for file, known, structure, said in (
        (couplings_file(tmp_path / "pairs.safetensors"), "C2H4+C4H4O", ethene_pair(),
         r"C2H4\+C2H4 is none .*'pairs' was trained on \(C2H4\+C4H4O\).*mae 29 of kinds held out"),
        (spectra_file(tmp_path / "carbon.safetensors"), "CH4", molecule("CH3CHO"),
         r"C2H4O is none of the kinds .* \(CH4\), and errors of others can be far larger\. "),
    ):  # fmt: skip
        network, header, _ = read_observable(file)
        errors = {"test": {"mae": 7.0}, "held_out": {"mae": 29.0}} if "pairs" in file.name else {}
        for kinds in ([known], [known, "C2H4+C2H4", "C2H4O"]):
            made = dataclasses.replace(header, training={"kinds": kinds}, errors=errors)
            write_observable(file, network, made)
            observable = Observable.load(file)
            if len(kinds) > 1:
                observable(structure)  # warnings are errors here
                continue
            with pytest.warns(KStepWarning, match=said) as raised:
                observable([structure, structure])
            assert len(raised) == 1
            observable(structure)


def test_molecules_far_from_the_origin_keep_their_digits(couplings, spectra):
    near, water = ethene_pair(), molecule("CH3OH")
    for observable, atoms in ((couplings, near), (spectra, water)):
        network = shaken(copy.deepcopy(observable.network).double()).float()
        other = type(observable)(network, observable.header, observable.digest)
        away = atoms.copy()
        away.translate([1e5, -2e5, 3e5])
        expected = other(atoms)
        assert abs(expected - observable(atoms)).max() > 1e-3
        assert other(away) == pytest.approx(expected, abs=1e-6)
