"""Levels, occupations, k-points and moments, against PySCF's own numbers."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotPresent
from ase.dft.bandgap import bandgap
from ase.dft.dos import DOS
from ase.spectrum.band_structure import calculate_band_structure, get_band_structure
from ase.units import Hartree
from pyscf import gto
from pyscf.pbc import gto as pbc_gto

from kstep_integrators import CalculatorPotential, KStepDynamics, units
from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf.levels import fermi_level
from kstep_integrators.testing import MorseNetwork
from tests.calculators.pyscf.systems import water

LEVELS = {"xc": "pbe", "basis": "sto-3g", "device": "cpu", "grid_level": 0}


def oxygen(**changes) -> Atoms:
    atoms = molecule("O2")
    atoms.calc = PySCFCalculator(**{**LEVELS, **changes})
    atoms.get_potential_energy()
    return atoms


def helium(kind: str = "KRKS", counts=(2, 1, 1), atoms: Atoms | None = None) -> Atoms:
    """A crystal on a coarse mesh: its SCF takes a second."""
    atoms = Atoms("He", cell=[2.0, 2.4, 2.8], pbc=True) if atoms is None else atoms
    cell = pbc_gto.Cell(verbose=0, unit="Angstrom", basis="gth-szv", pseudo="gth-pade")
    cell.atom = list(zip(atoms.symbols, atoms.positions.tolist(), strict=True))
    cell.a, cell.mesh = np.array(atoms.cell), [11, 13, 15]
    cell.build()
    mean_field = getattr(cell, kind)(kpts=cell.make_kpts(list(counts)))
    if kind.endswith("KS"):
        mean_field.xc = "lda,vwn"
    atoms.calc = PySCFCalculator(mean_field, device="cpu")
    atoms.get_potential_energy()
    return atoms


def test_a_closed_shell_has_one_set_of_levels():
    atoms = water()
    atoms.get_potential_energy()
    calc = atoms.calc
    own = calc.mean_field
    assert calc.get_eigenvalues() == pytest.approx(own.mo_energy * Hartree, rel=1e-6)
    assert calc.get_occupation_numbers().tolist() == [2, 2, 2, 2, 2, 0, 0]
    assert (calc.get_number_of_spins(), calc.get_spin_polarized()) == (1, False)
    assert calc.get_number_of_bands() == 7
    assert calc.get_number_of_electrons() == 10
    assert calc.get_xc_functional() == "HF"
    homo, lumo = own.mo_energy[4] * Hartree, own.mo_energy[5] * Hartree
    assert calc.get_homo_lumo() == pytest.approx((homo, lumo), rel=1e-6)
    assert calc.get_fermi_level() == pytest.approx((homo + lumo) / 2, rel=1e-6)
    assert calc.get_k_point_weights().tolist() == [1.0]
    assert calc.get_ibz_k_points().tolist() == calc.get_bz_k_points().tolist() == [[0, 0, 0]]
    assert atoms.get_magnetic_moment() == 0.0
    assert atoms.get_magnetic_moments().tolist() == [0, 0, 0]
    assert bandgap(calc)[0] == pytest.approx(lumo - homo, rel=1e-6)
    dos = DOS(calc, width=0.3, npts=4001, window=(-700, 100))
    electrons = np.trapezoid(np.where(dos.get_energies() < 0, dos.get_dos(), 0), dos.get_energies())
    assert electrons == pytest.approx(10, abs=0.05)


def test_an_unrestricted_open_shell_has_two():
    atoms = oxygen()
    calc, own = atoms.calc, atoms.calc.mean_field
    assert (calc.get_number_of_spins(), calc.get_spin_polarized()) == (2, True)
    for spin in (0, 1):
        levels = calc.get_eigenvalues(spin=spin)
        assert levels == pytest.approx(own.mo_energy[spin] * Hartree, rel=1e-6)
        assert calc.get_occupation_numbers(0, spin).sum() == (9, 7)[spin]
    assert calc.get_number_of_electrons() == 16
    assert calc.get_xc_functional() == "pbe"
    alpha, beta = own.mo_energy * Hartree
    assert calc.get_homo_lumo(0) == pytest.approx((alpha[8], alpha[9]), rel=1e-6)
    assert calc.get_homo_lumo(1) == pytest.approx((beta[6], beta[7]), rel=1e-6)
    assert calc.get_homo_lumo() == pytest.approx((alpha[8], beta[7]), rel=1e-6)
    assert atoms.get_magnetic_moment() == 2.0
    assert atoms.get_magnetic_moments() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_moments_are_those_of_mulliken():
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"spin": 2})
    atoms.calc = PySCFCalculator("hf", basis="6-31g", device="cpu")
    found = atoms.get_magnetic_moments()
    own = atoms.calc.mean_field
    _, spins = own.mulliken_spin_pop(own.mol, own.make_rdm1(), verbose=0)
    assert found == pytest.approx(spins, abs=1e-8)
    assert found.sum() == pytest.approx(atoms.get_magnetic_moment(), abs=1e-8)


def test_a_restricted_open_shell_has_one_set_with_singly_occupied_levels():
    atoms = oxygen(unrestricted=False)
    calc = atoms.calc
    assert (calc.get_number_of_spins(), calc.get_spin_polarized()) == (1, False)
    levels = calc.get_eigenvalues()
    assert levels == pytest.approx(np.array(calc.mean_field.mo_energy) * Hartree, rel=1e-6)
    assert sorted(calc.get_occupation_numbers()) == [0, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert calc.get_fermi_level() == pytest.approx(levels[7], abs=1e-3)
    assert atoms.get_magnetic_moments() == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("kind", ["fermi", "gauss"])
def test_the_fermi_level_of_a_smearing_is_its_chemical_potential(kind):
    own = gto.M(atom="Li 0 0 0; Li 0 0 2.7; H 0 0 8", basis="sto-3g", spin=1, verbose=0).UHF()
    own = own.smearing(sigma=0.05, method=kind, mu0=-0.1)  # its chemical potential, hartree
    own.kernel()
    filled = np.asarray(own.mo_occ)
    found = fermi_level(np.asarray(own.mo_energy), filled, own.sigma, own.smearing_method)
    assert found == pytest.approx(-0.1, abs=1e-7)


@pytest.mark.parametrize("kind", ["KRKS", "KUKS", "KRHF"])
def test_a_crystal_has_levels_at_each_k_point(kind):
    atoms = helium(kind)
    calc, own = atoms.calc, atoms.calc.mean_field
    energies = np.array(own.mo_energy).reshape(-1, 2, 1) * Hartree
    assert calc.get_number_of_spins() == len(energies)
    for spin, of_spin in enumerate(energies):
        for kpt, expected in enumerate(of_spin):
            assert calc.get_eigenvalues(kpt=kpt, spin=spin) == pytest.approx(expected, rel=1e-6)
            assert calc.get_occupation_numbers(kpt, spin) == pytest.approx(2 / len(energies))
    assert calc.get_bz_k_points() == pytest.approx(np.array([[0, 0, 0], [0.5, 0, 0]]))
    assert calc.get_k_point_weights().tolist() == [0.5, 0.5]
    assert calc.get_number_of_electrons() == pytest.approx(2)
    assert calc.get_bz_to_ibz_map().tolist() == [0, 1]
    assert calc.get_fermi_level() == pytest.approx(energies.max())  # there is no empty band


@pytest.mark.parametrize("kind", ["KRKS", "KUKS"])
def test_bands_go_through_the_levels_of_the_scf(kind):
    atoms = helium(kind)
    path = atoms.cell.bandpath("GX", npoints=3)
    found = calculate_band_structure(atoms, path)
    spins = atoms.calc.get_number_of_spins()
    assert found.energies.shape == (spins, 3, 1)
    assert found.reference == atoms.calc.get_fermi_level()
    scf = [atoms.calc.get_eigenvalues(kpt, spins - 1) for kpt in (0, 1)]
    assert found.energies[-1, [0, -1]] == pytest.approx(np.array(scf), abs=1e-4)  # G and X
    assert atoms.calc.band_structure(path).energies == pytest.approx(found.energies, abs=1e-6)
    assert atoms.calc.totals.scf_runs == 1
    with pytest.raises(ValueError, match="the path is one of another cell"):
        atoms.calc.band_structure(Atoms(cell=[3, 3, 3], pbc=True).cell.bandpath("GX", npoints=3))
    at_scf = get_band_structure(atoms, path=atoms.cell.bandpath("GX", npoints=2))
    assert at_scf.energies.shape == (spins, 2, 1)


def test_what_is_not_there_is_refused_with_the_reason():
    atoms = water()
    calc = atoms.calc
    for ask in (calc.get_eigenvalues, calc.get_fermi_level, calc.get_homo_lumo,
                calc.get_number_of_spins, calc.get_k_point_weights):  # fmt: skip
        with pytest.raises(PropertyNotPresent, match="ask for an energy first"):
            ask()
    atoms.get_potential_energy()
    with pytest.raises(ValueError, match="spin is 1, expected 0 to 0"):
        calc.get_eigenvalues(spin=1)
    with pytest.raises(ValueError, match="kpt is 3, expected 0 to 0"):
        calc.get_occupation_numbers(kpt=3)
    with pytest.raises(ValueError, match="spin is 1, expected 0 to 0, or None"):
        calc.get_homo_lumo(spin=1)
    with pytest.raises(ValueError, match="expected a crystal and a path"):
        calc.band_structure()
    with pytest.raises(ValueError, match=r"kpts is 5.*band_structure\(path\)"):
        calc.set(kpts=5)
    calc.set(basis="6-31g")
    with pytest.raises(PropertyNotPresent, match="nothing is computed with these settings"):
        calc.get_eigenvalues()


def test_levels_are_those_of_the_geometry_of_the_run():
    atoms = water()
    cheap = CalculatorPotential(MorseNetwork(atoms.positions))
    dynamics = KStepDynamics(
        atoms, cheap, k=20, timestep=0.5 * units.FS, metropolize=True, temperature_K=3000,
        friction=0.1 / units.FS, rng=np.random.default_rng(1), corrector="none",
    )  # fmt: skip
    for _ in range(4):
        dynamics.run(1)
        again = water()
        again.positions = atoms.positions
        again.get_potential_energy()
        expected = again.calc.get_eigenvalues()
        assert atoms.calc.get_eigenvalues() == pytest.approx(expected, abs=1e-3)
    assert dynamics.stats.accepted < dynamics.stats.jumps  # some were rejected
