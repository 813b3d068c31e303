"""Cells of any shape and orientation in OpenMM: forces, and the virial under shear."""

from __future__ import annotations

import warnings

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential, KStepWarning, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.calculators.triangular_boxes import triangular_box
from kstep_integrators.mechanics.strain import virial as differences
from kstep_integrators.potentials.virial import potential_energy, potential_virial

SIGMA, EPSILON = 0.34, 1.0  # nm, kJ/mol
EV = 0.010364269656  # kJ/mol, CODATA 2014 as in ASE

NOT_RECTANGULAR = "ignore:the box is not rectangular:kstep_integrators.KStepWarning"


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def cells() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    cube = 22.0 * np.eye(3)
    sheared = cube @ (np.eye(3) + rng.normal(0.0, 0.04, (3, 3)))
    skewed = np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ sheared
    return {
        "symmetric strain": cube @ (np.eye(3) + 0.01 * np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0]])),
        "sheared": sheared,
        "turned": cube @ random_rotation(rng),
        "skewed": skewed,
        "skewed and turned": skewed @ random_rotation(rng),
        "left-handed": sheared[[1, 0, 2]],
        "upside down": cube * [1, 1, -1],
        "hexagonal": np.array([[22.0, 0, 0], [11.0, 11 * np.sqrt(3), 0], [0, 0, 23.0]])[[2, 0, 1]],
        "rhombohedral": 16.0 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]),
    }


def argon(cell: np.ndarray) -> tuple[Atoms, openmm.System]:
    """A rattled crystal in a cell, and its System: shifted pairs, as ASE's."""
    atoms = bulk("Ar", cubic=True, a=22.0 / 4) * (4, 4, 4)
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.2, seed=1)
    system = openmm.System()
    pairs = openmm.CustomNonbondedForce(
        f"4*{EPSILON}*(({SIGMA}/r)^12-({SIGMA}/r)^6-({SIGMA}/0.75)^12+({SIGMA}/0.75)^6)"
    )
    pairs.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.75)
    for mass in atoms.get_masses():
        system.addParticle(mass)
        pairs.addParticle([])
    system.addForce(pairs)
    return atoms, system


@pytest.mark.filterwarnings(NOT_RECTANGULAR)
@pytest.mark.parametrize("name", cells())
def test_energy_forces_and_stress_are_those_of_the_same_pairs_elsewhere(name):
    atoms, system = argon(cells()[name])
    # The Reference platform loses pairs here (findings/openmm-reference-triclinic-pairs.sh).
    single = name == "rhombohedral"
    potential = CalculatorPotential(OpenMMCalculator(system, "CPU" if single else "Reference"))
    found, _ = potential.bind(state_from_atoms(atoms))(state_from_atoms(atoms).positions, None)
    virial = potential_virial(potential, state_from_atoms(atoms))
    atoms.calc = LennardJones(sigma=10 * SIGMA, epsilon=EPSILON * EV, rc=7.5)
    assert float(found.energy[0]) == pytest.approx(atoms.get_potential_energy(), rel=3e-6)
    rtol, atol = (1e-5, 1e-4) if single else (1e-7, 1e-6)
    np.testing.assert_allclose(found.forces.numpy(), atoms.get_forces(), rtol=rtol, atol=atol)
    pairs = CalculatorPotential(LennardJones(sigma=10 * SIGMA, epsilon=EPSILON * EV, rc=7.5))
    # Differences of energies for both: pairs cross the cutoff, where the force has a jump.
    expected = differences(state_from_atoms(atoms), lambda there: potential_energy(pairs, there))
    torch.testing.assert_close(virial, expected, rtol=1e-6, atol=0.5 if single else 2e-4)


@pytest.mark.filterwarnings(NOT_RECTANGULAR)
@pytest.mark.parametrize("name", cells())
def test_forces_are_the_slope_of_the_energy(name):
    atoms, system = argon(cells()[name])
    atoms.calc = OpenMMCalculator(system)
    force = atoms.get_forces()[7, 1]
    ends = []
    for step in (1e-4, -2e-4):
        atoms.positions[7, 1] += step
        ends.append(atoms.get_potential_energy())
    assert force == pytest.approx((ends[1] - ends[0]) / 2e-4, abs=1e-5)


def test_bonds_that_know_no_images_are_turned_along():
    """A left-handed cell, with an improper torsion: no molecule becomes its mirror image."""
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    torsion = openmm.CustomTorsionForce("10*theta")
    torsion.addTorsion(0, 1, 2, 3, [])
    torsion.setUsesPeriodicBoundaryConditions(True)
    bonds = openmm.HarmonicBondForce()
    for i in range(3):
        bonds.addBond(i, i + 1, 0.15, 0.0)
    for force in (torsion, bonds):
        system.addForce(force)
    # Along 1-0, 1-2 and 2-3: (1, 0, 0), (0, 0, 1) and (0.5, 0.8, 0.2).
    theta = np.arctan2(0.8, 0.5)
    places = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0], [0.5, 0.8, 1.2]])
    energies = []
    for cell in (30 * np.eye(3), 30 * np.eye(3)[[1, 0, 2]], 30 * np.eye(3) * [1, 1, -1]):
        atoms = Atoms("C4", places, cell=cell, pbc=True)
        atoms.set_masses([12.0] * 4)
        atoms.wrap(eps=0.3)
        atoms.calc = OpenMMCalculator(system)
        energies.append(atoms.get_potential_energy())
    assert energies == pytest.approx([10 * EV * theta] * 3, rel=1e-6)


def test_lattices_stay_and_boxes_are_reduced():
    rng = np.random.default_rng(2)
    for _ in range(200):
        cell = rng.normal(size=(3, 3))
        box, rotation = triangular_box(cell)
        assert np.triu(box, 1).max() == 0.0
        assert (np.diag(box) > 0).all()
        assert 2 * abs(box[1, 0]) <= box[0, 0]
        assert 2 * abs(box[2, 0]) <= box[0, 0]
        assert 2 * abs(box[2, 1]) <= box[1, 1]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        steps = box @ rotation.T @ np.linalg.inv(cell)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-7)
        assert abs(np.linalg.det(steps)) == pytest.approx(1.0)


def test_a_box_that_openmm_takes_is_left_as_it_is():
    cell = np.array([[2.0, 0.0, 0.0], [0.9, 2.0, 0.0], [-0.7, 0.8, 2.0]])
    box, rotation = triangular_box(cell)
    np.testing.assert_array_equal(box, cell)
    assert rotation is None


def test_a_cell_without_volume_is_refused():
    with pytest.raises(ValueError, match="spans no volume; a periodic System needs three vectors"):
        triangular_box(np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]]))


@pytest.mark.parametrize(
    ("name", "platform", "warns"),
    [
        ("hexagonal", "Reference", True),
        ("hexagonal", "CPU", False),
        ("symmetric strain", "Reference", False),  # of a virial by differences
        ("turned", "Reference", False),
    ],
)
def test_boxes_in_which_the_reference_platform_may_lose_pairs_warn_once(name, platform, warns):
    atoms, system = argon(cells()[name])
    atoms.calc = OpenMMCalculator(system, platform)
    if warns:
        with pytest.warns(KStepWarning, match="leaves out pairs .* platform='CPU'"):
            atoms.get_potential_energy()
    atoms.rattle(0.01, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()


def test_a_system_without_pairs_does_not_warn():
    system = openmm.System()
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.1, 1.0)
    bond.setUsesPeriodicBoundaryConditions(True)
    for _ in range(2):
        system.addParticle(39.948)
    system.addForce(bond)
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.2]], cell=cells()["hexagonal"], pbc=True)
    atoms.calc = OpenMMCalculator(system)
    assert atoms.get_potential_energy() == pytest.approx(0.5 * 0.02**2 * units.KJ_PER_MOL)
