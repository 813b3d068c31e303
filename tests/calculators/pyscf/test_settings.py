"""Settings, charge and multiplicity: what makes no sense is refused before any SCF."""

import pytest
from ase.build import molecule
from pyscf import gto

from kstep_integrators.calculators import PySCFCalculator
from tests.calculators.pyscf.systems import water


def test_set_starts_anew_and_todict_says_what_is_not_default():
    atoms = water()
    first = atoms.get_potential_energy()
    changed = atoms.calc.set(basis="6-31g")
    assert changed == {"basis": "6-31g"}
    assert atoms.get_potential_energy() < first - 1.0
    described = atoms.calc.todict()
    assert described == {"method": "hf", "basis": "6-31g", "device": "cpu"}
    assert atoms.calc.set() == {}
    with pytest.raises(TypeError, match=r"unknown settings \['functional'\]"):
        atoms.calc.set(functional="pbe")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected exactly one of them"),
        ({"method": "hf", "xc": "pbe", "basis": "sto-3g"}, "expected exactly one of them"),
        ({"method": "mp2", "basis": "sto-3g"}, "method is 'mp2'"),
        ({"method": 7}, "method is a int"),
        ({"xc": "pbe"}, "basis is missing"),
        ({"xc": "pbf", "basis": "sto-3g"}, "xc is 'pbf', which PySCF does not know"),
        ({"xc": "pbe", "basis": "sto-3g", "grid_level": 12}, "grid_level is 12"),
        ({"method": "hf", "basis": "sto-3g", "grid_response": True}, "has no grid"),
        ({"method": "hf", "basis": "sto-3g", "conv_tol": 1e-2}, "conv_tol is 0.01"),
        ({"method": "hf", "basis": "sto-3g", "max_cycle": 0}, "max_cycle is 0"),
        ({"method": "hf", "basis": "sto-3g", "history": 0}, "history is 0"),
        ({"method": "hf", "basis": "sto-3g", "threads": 0}, "threads is 0"),
        ({"method": "hf", "basis": "sto-3g", "kpts": (1, 1, 0)}, "kpts is"),
        ({"method": "hf", "basis": "sto-3g", "device": "gpu"}, "device is 'gpu'"),
        ({"method": "hf", "basis": "sto-3g", "guess": "minao"}, "guess is 'minao'"),
        ({"method": "hf", "basis": "sto-3g", "dispersion": "d5"}, "dispersion is 'd5'"),
        ({"method": "hf", "basis": "sto-3g", "solvent": "beer"}, "unknown solvent 'beer'"),
        ({"method": "hf", "basis": "sto-3g", "solvent": 0.5}, "solvent is 0.5"),
        ({"method": "hf", "basis": "sto-3g", "solvent_model": "x"}, "solvent_model is 'x'"),
        (
            {"method": "hf", "basis": "sto-3g", "solvent": 78.4, "solvent_model": "smd"},
            "SMD needs a name",
        ),
        (
            {"method": "hf", "basis": "sto-3g", "min_overlap_eigenvalue": -1.0},
            "min_overlap_eigenvalue is -1.0",
        ),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        PySCFCalculator(**settings)


def test_a_mean_field_decides_the_level_of_theory():
    mean_field = gto.M(atom="He 0 0 0", basis="sto-3g", verbose=0).RHF()
    with pytest.raises(ValueError, match="basis, conv_tol given beside a mean-field object"):
        PySCFCalculator(mean_field, basis="sto-3g", conv_tol=1e-8)


@pytest.mark.parametrize(
    ("name", "info", "settings", "message"),
    [
        ("H2O", {}, {"charge": 1}, r"9 electrons, an odd number.*can be 2, 4, 6"),
        ("CH3", {}, {"multiplicity": 1}, r"9 electrons, an odd number"),
        ("O2", {}, {"multiplicity": 2}, r"16 electrons, an even number.*can be 1, 3, 5"),
        ("H2O", {"charge": 1}, {"charge": 0}, "charge=0, but the charge that atoms.info says is 1"),
        ("H2O", {"multiplicity": 1.5}, {}, r"multiplicity'\] is 1.5, expected a whole number"),
        ("H2O", {"charge": "one"}, {}, "is 'one', expected a whole number"),
        ("H2O", {"multiplicity": 0}, {}, r"multiplicity'\] is 0"),
        ("H2O", {}, {"charge": 10}, "has 0 electrons"),
        ("H2", {}, {"multiplicity": 5}, "2 electrons.*can be 1, 3"),
    ],
)
def test_impossible_electrons_are_refused_before_any_scf(name, info, settings, message):
    atoms = molecule(name)
    atoms.info.update(info)
    atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", **settings)
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()
    assert atoms.calc.totals.scf_runs == 0


def test_electrons_from_info_and_from_initial_moments():
    oxygen = molecule("O2")  # ASE gives it two unpaired electrons
    oxygen.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    triplet = oxygen.get_potential_energy()
    assert oxygen.get_magnetic_moment() == 2.0
    oxygen.info["multiplicity"] = 1
    assert oxygen.get_potential_energy() > triplet + 0.5
    ion = molecule("OH")
    ion.set_initial_charges([-1.0, 0.0])
    ion.set_initial_magnetic_moments([0.0, 0.0])
    ion.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    assert ion.get_charges().sum() == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unrestricted": "maybe"}, {"unrestricted": 1}, {"grid_response": "maybe"},
        {"max_memory": -1}, {"max_memory": "1 GB"}, {"max_memory": float("nan")},
        {"directory": 3.0}, {"directory": __file__}, {"density_fit": 1}, {"kpts": 2},
        {"kpts": (2.5, 1, 1)}, {"grid_level": "fine"}, {"conv_tol": "tight"}, {"threads": 1.5},
        {"history": True}, {"basis": 3}, {"xc": 5}, {"dispersion": True}, {"solvent": True},
        {"solvent": float("nan")}, {"solvent_model": None}, {"ecp": 3}, {"device": None},
        {"min_overlap_eigenvalue": None}, {"min_overlap_eigenvalue": float("inf")},
        {"max_cycle": float("inf")}, {"charge": "a"}, {"multiplicity": 1.5},
    ],
    ids=lambda wrong: "-".join(f"{k}={v}" for k, v in wrong.items())[:40].replace("/", "_"),
)  # fmt: skip
def test_types_are_checked_when_they_are_given(wrong):
    given = {"xc": "pbe", "basis": "sto-3g", "device": "cpu", **wrong}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*(expected|file)"):
        PySCFCalculator(**given)


def test_an_unknown_auxiliary_basis_is_refused_before_the_scf():
    atoms = water(density_fit="no-such-basis")
    with pytest.raises(
        ValueError, match=r"density_fit='no-such-basis' for H2O.*Check the spelling"
    ):
        atoms.get_potential_energy()
    assert atoms.calc.totals.scf_cycles == 0


@pytest.mark.filterwarnings("ignore:Basis not found")
def test_an_element_without_basis_functions_is_refused():
    atoms = water(basis={"O": "6-31g"})
    with pytest.raises(
        ValueError, match=r"has no functions for \['H'\]; name one for each element"
    ):
        atoms.get_potential_energy()
    atoms.calc.set(basis={"O": "6-31g", "default": "sto-3g"})
    assert atoms.get_potential_energy() < -2050
