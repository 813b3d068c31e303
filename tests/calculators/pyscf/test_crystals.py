"""PySCFCalculator's energies, forces and stress of crystals."""

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree
from pyscf import scf
from pyscf.pbc import gto as pbc_gto

from kstep_integrators.calculators.pyscf import PySCFCalculator
from tests.calculators.pyscf.references import (
    TIGHT,
    check_forces,
    derivative,
    energy_of,
    no_checkpoints,
    solved,
)

__all__ = ["no_checkpoints"]


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
