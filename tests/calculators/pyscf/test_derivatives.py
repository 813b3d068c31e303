"""Forces, dipoles and charges of PySCFCalculator against derivatives of its energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree
from pyscf import scf

from kstep_integrators.calculators.pyscf import PySCFCalculator
from tests.calculators.pyscf.references import (
    TIGHT,
    check_forces,
    derivative,
    energy_of,
    kohn_sham,
    no_checkpoints,
    plain,
    shaken,
)

__all__ = ["no_checkpoints"]


FORCES = {
    "RHF": ("H2O", {"method": "hf", "basis": "6-31g"}),
    "UHF": ("CH3", {"method": "hf", "basis": "6-31g", "multiplicity": 2}),
    "ROHF": (
        "CH3",
        {"method": "hf", "basis": "6-31g", "multiplicity": 2, "unrestricted": False},
    ),
    "hybrid": ("NH3", {"xc": "b3lyp", "basis": "sto-3g"}),
    "range-separated hybrid": ("H2O", {"xc": "wb97x", "basis": "sto-3g"}),
    "meta-GGA": ("H2O", {"xc": "r2scan", "basis": "sto-3g"}),
    "UKS": ("O2", {"xc": "pbe", "basis": "sto-3g", "multiplicity": 3}),
    "density fitting": ("H2O", {"method": "hf", "basis": "def2-svp", "density_fit": True}),
    "density-fitted functional": ("H2O", {"xc": "pbe", "basis": "sto-3g", "density_fit": True}),
    "D3": ("NH3", {"method": "hf", "basis": "sto-3g", "dispersion": "d3bj"}),
    "D4": ("NH3", {"xc": "b3lyp", "basis": "sto-3g", "dispersion": "d4"}),
    "IEF-PCM": ("H2O", {"method": "hf", "basis": "sto-3g", "solvent": "water"}),
    "C-PCM": (
        "H2O",
        {"method": "hf", "basis": "sto-3g", "solvent": 10.0, "solvent_model": "c-pcm"},
    ),
    "functional in a solvent": ("H2O", {"xc": "pbe", "basis": "sto-3g", "solvent": "water"}),
    "effective core potential": ("CH3Cl", {"method": "hf", "basis": "lanl2dz", "ecp": "lanl2dz"}),
}


@pytest.mark.parametrize("case", FORCES)
def test_forces_are_derivatives_of_the_energy(case):
    name, settings = FORCES[case]
    if "xc" in settings:
        settings = {**settings, "grid_level": 1, "grid_response": True}
    check_forces(shaken(name), PySCFCalculator(**settings, **TIGHT), 1e-7)


def test_without_the_response_of_the_grid_forces_miss_a_little():
    settings = {"xc": "b3lyp", "basis": "sto-3g", "grid_level": 1, **TIGHT}
    atoms = shaken("H2O")
    found = []
    for response in (False, True):
        atoms.calc = PySCFCalculator(grid_response=response, **settings)
        found.append(atoms.get_forces() * Bohr / Hartree)
    # Only the true derivative of the energy is free of a net force.
    assert abs(found[1].sum(0)).max() < 1e-9
    assert 1e-6 < abs(found[0].sum(0)).max() < 1e-3
    assert 1e-6 < abs(found[1] - found[0]).max() < 1e-3


def in_a_field(mean_field):
    """A mean field with a switch for a uniform electric field, hartree/(e bohr)."""
    mean_field.conv_tol = 1e-12
    field = np.zeros(3)
    without = mean_field.get_hcore

    def get_hcore(mol=None):
        mol = mean_field.mol if mol is None else mol
        return without(mol) + np.einsum("x,xij->ij", field, mol.intor("int1e_r"))

    mean_field.get_hcore = get_hcore
    return mean_field, field


@pytest.mark.parametrize(
    "make",
    [
        lambda: plain(shaken("H2O"), "6-31g").RHF(),
        lambda: plain(shaken("CH3"), "6-31g", spin=1).UHF(),
        lambda: plain(shaken("CH3"), "sto-3g", spin=1).ROHF(),
        lambda: plain(shaken("OH"), "6-31g", charge=-1).RHF(),
        lambda: kohn_sham(plain(shaken("NH3"), "sto-3g").RKS(), "pbe"),
    ],
    ids=["RHF", "UHF", "ROHF", "RHF ion", "RKS"],
)
def test_dipoles_are_derivatives_of_the_energy_by_a_field(make):
    mean_field, field = in_a_field(make())
    mol = mean_field.mol
    atoms = Atoms(mol.elements, mol.atom_coords(unit="Angstrom"))
    atoms.info.update(charge=mol.charge, multiplicity=mol.spin + 1)
    calculator = PySCFCalculator(mean_field, device="cpu")
    atoms.calc = calculator
    found = atoms.get_dipole_moment()
    nuclei = mol.atom_charges() @ mol.atom_coords()
    for axis in range(3):

        def energy(x, axis=axis):
            field[:] = 0.0
            field[axis] = x
            calculator.reset()  # the field is no setting of the calculator
            return energy_of(atoms, calculator) / Hartree

        # The nuclei's part of the energy, - field . sum(Z R), is not in PySCF's.
        expected = nuclei[axis] - derivative(energy, 1e-3)
        assert found[axis] / Bohr == pytest.approx(expected, abs=5e-7)
    assert np.linalg.norm(found) > 1e-3


@pytest.mark.parametrize(
    ("name", "charge", "multiplicity", "settings"),
    [
        ("H2O", 0, 1, {"method": "hf", "basis": "6-31g"}),
        ("OH", -1, 1, {"method": "hf", "basis": "6-31g"}),
        ("NH3", 1, 2, {"xc": "pbe", "basis": "sto-3g", "grid_level": 1}),
        ("CH3", 0, 2, {"method": "hf", "basis": "6-31g", "unrestricted": False}),
        ("CH3Cl", 0, 1, {"method": "hf", "basis": "lanl2dz", "ecp": "lanl2dz"}),
    ],
    ids=["RHF", "anion", "UKS cation", "ROHF", "effective core potential"],
)
def test_charges_are_mulliken_s(name, charge, multiplicity, settings):
    atoms = shaken(name)
    calculator = PySCFCalculator(**settings, charge=charge, multiplicity=multiplicity, **TIGHT)
    atoms.calc = calculator
    charges = atoms.get_charges()
    assert charges.sum() == pytest.approx(charge, abs=1e-9)
    expected = calculator.mean_field.mulliken_pop(verbose=0)[1]
    np.testing.assert_allclose(charges, expected, atol=1e-9)
    assert charges[atoms.numbers == 1].mean() > charges[atoms.numbers > 1].mean()
    assert atoms.get_magnetic_moment() == multiplicity - 1


@pytest.mark.parametrize("settings", [{"method": "hf"}, {"xc": "pbe", "grid_level": 1}])
def test_without_smearing_the_free_energy_is_the_energy(settings):
    calculator = PySCFCalculator(**settings, basis="sto-3g", **TIGHT)
    atoms = shaken("H2O")
    energy, free = (energy_of(atoms, calculator, name) for name in ("energy", "free_energy"))
    assert free == energy


@pytest.mark.parametrize(
    ("name", "spin", "kind"), [("H2O", 0, "RHF"), ("CH3", 1, "UHF"), ("O2", 2, "UHF")]
)
def test_under_smearing_the_forces_belong_to_the_free_energy(name, spin, kind):
    atoms = shaken(name)
    atoms.info["multiplicity"] = spin + 1
    mean_field = getattr(plain(atoms, "sto-3g", spin=spin), kind)()
    # Hot enough that the entropy matters to the forces.
    mean_field = scf.addons.smearing(mean_field, sigma=0.15, method="fermi")
    mean_field.conv_tol = 1e-12
    calculator = PySCFCalculator(mean_field, device="cpu")
    check_forces(atoms, calculator, 1e-6, "free_energy")
    with pytest.raises(AssertionError):
        check_forces(atoms, calculator, 1e-4, "energy")
    field = calculator.mean_field
    gap = energy_of(atoms, calculator) - energy_of(atoms, calculator, "free_energy")
    assert gap == pytest.approx(0.5 * field.sigma * field.entropy * Hartree, abs=1e-9)
    assert field.e_tot * Hartree > energy_of(atoms, calculator)
