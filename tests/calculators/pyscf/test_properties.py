"""PySCFCalculator's numbers: those of PySCF itself, and derivatives of each other."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Debye, Hartree
from pyscf import gto, scf
from pyscf.pbc import gto as pbc_gto

from kstep_integrators.calculators.pyscf import PySCFCalculator

TIGHT = {"device": "cpu", "conv_tol": 1e-12}
WATER_EPSILON = 78.355


@pytest.fixture(autouse=True)
def _no_checkpoints(monkeypatch):
    # The mean fields made here would open files and leave them to the garbage collector.
    monkeypatch.setattr(scf.hf, "MUTE_CHKFILE", True)


def shaken(name, seed=0, size=0.04):
    """A molecule without symmetry."""
    atoms = molecule(name)
    atoms.positions += np.random.default_rng(seed).normal(0.0, size, atoms.positions.shape)
    atoms.set_initial_magnetic_moments(None)
    return atoms


def plain(atoms, basis, **kwargs):
    """PySCF's molecule, made without the package."""
    pairs = list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True))
    return gto.M(atom=pairs, basis=basis, unit="Angstrom", verbose=0, **kwargs)


def derivative(function, step):
    """Central difference of fourth order."""
    near, far = ((function(x) - function(-x)) for x in (step, 2 * step))
    return (8 * near - far) / (12 * step)


def energy_of(atoms, calculator, name="energy"):
    atoms.calc = calculator
    return calculator.get_property(name, atoms)


def check_forces(atoms, calculator, tolerance, name="energy"):
    """Forces along a random direction, which sees all of them; hartree/bohr."""
    direction = np.random.default_rng(5).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)

    def moved(x):
        other = atoms.copy()
        other.positions += x * direction
        return energy_of(other, calculator, name)

    slope = derivative(moved, 4e-3)
    atoms.calc = calculator
    along = float((atoms.get_forces() * direction).sum())
    assert abs(along) * Bohr / Hartree > 1e-3  # else the comparison says nothing
    assert along * Bohr / Hartree == pytest.approx(-slope * Bohr / Hartree, abs=tolerance)


def solved(mean_field):
    """Energy and forces, hartree and bohr."""
    mean_field.conv_tol = 1e-12
    mean_field.kernel()
    assert mean_field.converged
    return mean_field.e_tot, -mean_field.nuc_grad_method().kernel()


def kohn_sham(mean_field, xc):
    mean_field.xc = xc
    mean_field.grids.level = 1
    return mean_field


def pcm(mean_field):
    mean_field = mean_field.PCM()
    mean_field.with_solvent.method = "IEF-PCM"
    mean_field.with_solvent.eps = WATER_EPSILON
    return mean_field


def with_dispersion(mean_field, name):
    """Energy and forces plus D3(BJ), the latter from s-dftd3 and not through PySCF's SCF."""
    from pyscf.dispersion.dftd3 import DFTD3Dispersion

    energy, forces = solved(mean_field)
    extra = DFTD3Dispersion(mean_field.mol, xc=name, version="d3bj").get_dispersion(grad=True)
    assert abs(extra["energy"]) > 1e-5
    return energy + extra["energy"], forces - extra["gradient"]


def radical(name, basis):
    return lambda atoms: plain(atoms, basis, spin={"CH3": 1, "O2": 2}[name])


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


# Crystals: one Gaussian per hydrogen, so that a small mesh does.
SOFT = {"H": [[0, [0.9, 1.0]]]}
LATTICE = np.array([[2.6, 0.1, 0.0], [0.2, 2.8, 0.1], [0.0, 0.3, 3.0]])


def crystal():
    sites = [[0.1, 0.2, 0.3], [0.3, 0.5, 0.95]]
    return Atoms("H2", positions=sites, cell=LATTICE, pbc=True)


def crystal_calculator(**settings):
    return PySCFCalculator(
        **{"basis": SOFT, "pseudo": "gth-pade", "kpts": (2, 1, 1), **TIGHT, **settings}
    )


def plain_crystal(atoms, kind, xc, mesh):
    cell = pbc_gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        a=atoms.cell.array,
        basis=SOFT,
        pseudo="gth-pade",
        mesh=mesh,
        verbose=0,
    )
    mean_field = getattr(cell, kind)(kpts=cell.make_kpts((2, 1, 1)))
    mean_field.xc = xc
    return mean_field


CRYSTALS = {
    "KRKS, LDA": ("KRKS", {"xc": "lda,vwn"}),
    "KRKS, GGA": ("KRKS", {"xc": "pbe"}),
    "KUKS": ("KUKS", {"xc": "pbe", "unrestricted": True}),
}


@pytest.mark.parametrize("case", CRYSTALS)
def test_crystals_are_those_of_pyscf_from_cold_and_warm_starts(case):
    kind, settings = CRYSTALS[case]
    calculator = crystal_calculator(**settings)
    atoms = crystal()
    atoms.calc = calculator
    for _ in range(3):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        if calculator.totals.scf_runs != 2:
            # The mesh of a calculator is that of its first cell.
            mean_field = plain_crystal(atoms, kind, settings["xc"], calculator.mean_field.mol.mesh)
            expected_energy, expected_forces = solved(mean_field)
            assert energy / Hartree == pytest.approx(expected_energy, abs=1e-9)
            np.testing.assert_allclose(forces * Bohr / Hartree, expected_forces, atol=1e-7, rtol=0)
        atoms.positions[1] += [0.02, -0.03, 0.01]
        atoms.set_cell(atoms.cell.array * [1.0, 1.01, 0.99], scale_atoms=True)
    assert calculator.totals.scf_runs == 3
    assert calculator.totals.retries == 0


@pytest.mark.parametrize("case", CRYSTALS)
def test_forces_and_stress_of_crystals_are_derivatives_of_the_energy(case):
    _, settings = CRYSTALS[case]
    calculator = crystal_calculator(**settings)
    atoms = crystal()
    # 8e-8 are PySCF's Ewald sum, the same for all functionals.
    check_forces(atoms, calculator, 3e-7)
    stress = atoms.get_stress()
    pressure = Hartree / Bohr**3
    assert abs(stress).min() / pressure > 1e-5
    # ASE's order is xx, yy, zz, yz, xz, xy.
    for voigt, (i, j) in {0: (0, 0), 2: (2, 2), 3: (1, 2), 5: (0, 1)}.items():

        def strained(x, i=i, j=j):
            strain = np.eye(3)
            strain[i, j] += x / 2
            strain[j, i] += x / 2
            other = atoms.copy()
            other.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return energy_of(other, calculator)

        expected = derivative(strained, 2e-3) / atoms.get_volume()
        assert stress[voigt] / pressure == pytest.approx(expected / pressure, abs=1e-8)


def test_charges_of_a_crystal_are_those_of_its_supercell():
    # Two k-points along the first vector are the Gamma point of a cell twice as long.
    basis = {**SOFT, "He": [[0, [1.2, 1.0]]]}
    atoms = crystal()
    atoms.symbols = "HHe"
    calculator = crystal_calculator(xc="lda,vwn", basis=basis, charge=1)
    atoms.calc = calculator
    charges = atoms.get_charges()
    long = atoms.repeat((2, 1, 1))
    cell = pbc_gto.M(
        atom=list(zip(long.get_chemical_symbols(), long.positions, strict=True)),
        a=long.cell.array,
        basis=basis,
        pseudo="gth-pade",
        charge=2,
        mesh=calculator.mean_field.mol.mesh * [2, 1, 1],
        verbose=0,
    )
    mean_field = cell.RKS(xc="lda,vwn")
    mean_field.conv_tol = 1e-12
    assert atoms.get_potential_energy() / Hartree == pytest.approx(
        mean_field.kernel() / 2, abs=1e-6
    )
    expected = scf.hf.mulliken_pop(cell, mean_field.make_rdm1(), mean_field.get_ovlp(), verbose=0)[
        1
    ]
    np.testing.assert_allclose(np.tile(charges, 2), expected, atol=1e-5)
    assert charges.sum() == pytest.approx(1.0, abs=1e-9)
    assert abs(charges[0] - charges[1]) > 1e-3  # else their order would not matter
