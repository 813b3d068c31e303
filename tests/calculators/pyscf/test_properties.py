"""PySCFCalculator's energies and forces: those of PySCF itself."""

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Debye, Hartree

from kstep_integrators.calculators.pyscf import PySCFCalculator
from tests.calculators.pyscf.references import (
    TIGHT,
    WATER_EPSILON,
    energy_of,
    kohn_sham,
    no_checkpoints,
    pcm,
    plain,
    radical,
    shaken,
    solved,
    with_dispersion,
)

__all__ = ["no_checkpoints"]


# Each: molecule, settings of the calculator, the same in PySCF.
CASES = {
    "RHF": (
        "H2O",
        {"method": "hf", "basis": "def2-svp"},
        lambda a: solved(plain(a, "def2-svp").RHF()),
    ),
    "RHF ion": (
        "OH",
        {"method": "hf", "basis": "6-31g", "charge": -1},
        lambda a: solved(plain(a, "6-31g", charge=-1).RHF()),
    ),
    "UHF": (
        "CH3",
        {"method": "hf", "basis": "6-31g", "multiplicity": 2},
        lambda a: solved(radical("CH3", "6-31g")(a).UHF()),
    ),
    "ROHF": (
        "CH3",
        {"method": "hf", "basis": "6-31g", "multiplicity": 2, "unrestricted": False},
        lambda a: solved(radical("CH3", "6-31g")(a).ROHF()),
    ),
    "UHF of a closed shell": (
        "NH3",
        {"method": "hf", "basis": "sto-3g", "unrestricted": True},
        lambda a: solved(plain(a, "sto-3g").UHF()),
    ),
    "RKS": (
        "NH3",
        {"xc": "b3lyp", "basis": "6-31g", "grid_level": 1},
        lambda a: solved(kohn_sham(plain(a, "6-31g").RKS(), "b3lyp")),
    ),
    "UKS": (
        "O2",
        {"xc": "pbe", "basis": "def2-svp", "multiplicity": 3, "grid_level": 1},
        lambda a: solved(kohn_sham(radical("O2", "def2-svp")(a).UKS(), "pbe")),
    ),
    "ROKS": (
        "O2",
        {
            "xc": "pbe",
            "basis": "6-31g",
            "multiplicity": 3,
            "unrestricted": False,
            "grid_level": 1,
        },
        lambda a: solved(kohn_sham(radical("O2", "6-31g")(a).ROKS(), "pbe")),
    ),
    "density fitting": (
        "H2O",
        {"method": "hf", "basis": "def2-svp", "density_fit": True},
        lambda a: solved(plain(a, "def2-svp").RHF().density_fit()),
    ),
    "density fitting, basis named": (
        "H2O",
        {"method": "hf", "basis": "6-31g", "density_fit": "def2-universal-jkfit"},
        lambda a: solved(plain(a, "6-31g").RHF().density_fit(auxbasis="def2-universal-jkfit")),
    ),
    "dispersion": (
        "NH3",
        {"method": "hf", "basis": "sto-3g", "dispersion": "d3bj"},
        lambda a: with_dispersion(plain(a, "sto-3g").RHF(), "hf"),
    ),
    "dispersion of a functional": (
        "NH3",
        {"xc": "b3lyp", "basis": "sto-3g", "dispersion": "d3bj", "grid_level": 1},
        lambda a: with_dispersion(kohn_sham(plain(a, "sto-3g").RKS(), "b3lyp"), "b3lyp"),
    ),
    "solvent": (
        "H2O",
        {"method": "hf", "basis": "6-31g", "solvent": "water"},
        lambda a: solved(pcm(plain(a, "6-31g").RHF())),
    ),
    "all together": (
        "CH3",
        {
            "xc": "b3lyp",
            "basis": "sto-3g",
            "multiplicity": 2,
            "density_fit": True,
            "dispersion": "d3bj",
            "solvent": WATER_EPSILON,
            "grid_level": 1,
        },
        lambda a: with_dispersion(
            pcm(kohn_sham(radical("CH3", "sto-3g")(a).UKS(), "b3lyp").density_fit()), "b3lyp"
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_energies_and_forces_are_those_of_pyscf_from_cold_and_warm_starts(case):
    name, settings, reference = CASES[case]
    calculator = PySCFCalculator(**settings, **TIGHT)
    atoms = shaken(name)
    atoms.calc = calculator
    velocity = np.random.default_rng(1).normal(0.0, 0.02, atoms.positions.shape)
    for start in ("atomic guess", "extrapolated density", "extrapolated density"):
        energy = atoms.get_potential_energy()
        assert calculator.last_call.attempt == start
        forces = atoms.get_forces()
        if calculator.totals.scf_runs != 2:
            expected_energy, expected_forces = reference(atoms)
            assert energy / Hartree == pytest.approx(expected_energy, abs=1e-9)
            # Two SCFs of 1e-12 hartree leave orbital gradients of up to 1e-6 in the forces.
            tolerance = 1e-7 if start == "atomic guess" else 3e-7
            np.testing.assert_allclose(
                forces * Bohr / Hartree, expected_forces, atol=tolerance, rtol=0
            )
        atoms.positions += velocity
    assert calculator.totals.scf_runs == 3
    assert calculator.totals.retries == 0


def test_units():
    # RHF/STO-3G of helium, from the textbooks, and numbers that nothing else here is made of
    helium = Atoms("He")
    calculator = PySCFCalculator("hf", basis="sto-3g", **TIGHT)
    assert energy_of(helium, calculator) == pytest.approx(-2.80778396 * 27.2113860, abs=1e-5)
    water = shaken("H2O")
    water.calc = PySCFCalculator("hf", basis="sto-3g", **TIGHT)
    mean_field = plain(water, "sto-3g").RHF()
    energy, forces = solved(mean_field)
    assert water.get_potential_energy() == pytest.approx(27.2113860 * energy, abs=1e-4)
    np.testing.assert_allclose(water.get_forces(), 51.4220671 * forces, atol=1e-6)
    debye = mean_field.dip_moment(unit="Debye", verbose=0)
    np.testing.assert_allclose(water.get_dipole_moment() / Debye, debye, atol=1e-5)
    assert 1.0 < np.linalg.norm(debye) < 2.5
