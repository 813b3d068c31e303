"""Pressure of gases and of a compressed crystal; densities of cells and layers."""

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators.diagnostics import density_profile, mass_density, virial_pressure
from kstep_integrators.units import BAR, G_PER_CM3, GPA, KB


def test_ideal_gas():
    volume = 1e5
    kinetic = 1.5 * 50 * KB * np.array([300.0, 600.0])
    found = virial_pressure(np.zeros((2, 3, 3)), kinetic, volume)
    np.testing.assert_allclose(found, 50 * KB * np.array([300.0, 600.0]) / volume)
    # 101325 Pa at 273.15 K have 22.414 l/mol.
    one = virial_pressure(np.zeros(6), 1.5 * KB * 273.15, 1e27 * 22.414 / 6.02214e23)
    assert one / BAR == pytest.approx(1.01325, rel=1e-4)
    assert pytest.approx(1e-4 * GPA) == BAR


def test_against_the_change_of_energy_and_against_ase():
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.calc = EMT()
    thermalize_momenta(atoms, 300.0, rng=np.random.default_rng(0))
    stress, volume = atoms.get_stress(), atoms.cell.volume
    still = virial_pressure(stress, 0.0, volume)
    energies = []
    for scale in (0.9999, 1.0001):
        other = atoms.copy()
        other.set_cell(atoms.cell[:] * scale, scale_atoms=True)
        other.calc = EMT()
        energies.append((other.get_potential_energy(), other.cell.volume))
    slope = -(energies[1][0] - energies[0][0]) / (energies[1][1] - energies[0][1])
    assert still == pytest.approx(slope, rel=1e-5)
    assert still / GPA > 5.0  # compressed
    ours = virial_pressure(stress, atoms.get_kinetic_energy(), volume)
    theirs = virial_pressure(atoms.get_stress(voigt=False, include_ideal_gas=True), 0.0, volume)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stress": np.zeros(5)}, r"stress has shape \(5,\)"),
        ({"volume": 0.0}, "volume is 0.0"),
        ({"kinetic_energy": [1.0, 2.0, 3.0]}, r"those of \(2,\), \(3,\) and \(\) frames"),
    ],
)
def test_pressure_refuses(change, message):
    arguments = {"stress": np.zeros((2, 6)), "kinetic_energy": 1.0, "volume": 1.0}
    with pytest.raises(ValueError, match=message):
        virial_pressure(**{**arguments, **change})


def test_density_of_a_cell_that_changes():
    masses, cell = [12.0, 12.0], np.diag([2.0, 3.0, -4.0])
    found = mass_density(masses, [cell, 2 * cell])
    np.testing.assert_allclose(found, np.array([1.0, 0.125]) / G_PER_CM3)
    assert pytest.approx(0.6022, rel=1e-4) == G_PER_CM3
    with pytest.raises(ValueError, match="cell"):
        mass_density(masses, np.zeros((3, 3)))


@pytest.mark.parametrize("vacuum", [None, 6.0])
def test_layers_of_a_slab_hold_its_mass(vacuum):
    slab = fcc111("Cu", (2, 3, 4), a=3.6, vacuum=vacuum)  # without vacuum: no third vector
    low, high = slab.positions[:, 2].min() - 1.0, slab.positions[:, 2].max() + 1.0
    found = density_profile([slab.positions] * 3, slab.get_masses(), slab.cell[:], (low, high), 200)
    assert np.count_nonzero(found.density) == 4
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    mass = found.density.sum() * (high - low) / 200 * area * G_PER_CM3
    assert mass == pytest.approx(slab.get_masses().sum())
    layers = found.heights[found.density > 0.0]
    np.testing.assert_allclose(np.diff(layers), 3.6 / np.sqrt(3.0), atol=0.05)


def test_layers_along_another_vector():
    found = density_profile([[0.5, 9.0, 9.0]], [3.0], np.diag([0.0, 2.0, 3.0]), (0.0, 2.0), 2, 0)
    np.testing.assert_allclose(found.density * G_PER_CM3, [0.5, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masses": [1.0, 1.0]}, "have shapes"),
        ({"axis": 3}, "axis is 3"),
        ({"bins": 0}, "bins 0"),
        ({"limits": (1.0, 1.0)}, "the lower limit first"),
        ({"cell": np.diag([1.0, 0.0, 1.0])}, "span no area"),
    ],
)
def test_profile_refuses(change, message):
    arguments = {"positions": np.zeros((1, 3)), "masses": [1.0], "cell": np.eye(3),
                 "limits": (0.0, 1.0)}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        density_profile(**{**arguments, **change})
