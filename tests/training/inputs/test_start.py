"""Relaxed and thermal starts."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import units
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import RelaxationFailed, bring_to_rest, relax, thermal_start


def water() -> Atoms:
    atoms = read_molecule("water").atoms
    atoms.calc = make_physics("GFN2-xTB")(atoms)
    return atoms


def test_relaxed_to_a_minimum() -> None:
    atoms = water()
    atoms.positions[1] *= 1.2
    assert not relax(atoms, fmax=0.01, max_steps=1)
    assert relax(atoms, fmax=0.01)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01


def test_a_molecule_that_cannot_be_relaxed() -> None:
    atoms = Atoms("OH", positions=[[0, 0, 0], [0, 0, 0]], info={"charge": -1, "multiplicity": 1})
    atoms.calc = make_physics("GFN2-xTB")(atoms)
    with pytest.raises(RelaxationFailed, match=r"x cannot be relaxed: .* charge \(-1\)"):
        relax(atoms, name="x")


def test_brought_to_rest() -> None:
    atoms = water()
    thermalize_momenta(atoms, 300.0, rng=np.random.default_rng(0))
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() > 0.1
    bring_to_rest(atoms)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0.0, atol=1e-9)


def test_what_cells_and_fixed_atoms_keep() -> None:
    """A cell has no rotation to lose, and with fixed atoms nothing is conserved."""
    crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    rng = np.random.default_rng(1)
    crystal.set_momenta(rng.standard_normal((32, 3)))
    before = crystal.get_momenta()
    bring_to_rest(crystal)
    expected = before - before.mean(axis=0)
    np.testing.assert_allclose(crystal.get_momenta(), expected, atol=1e-12)
    crystal.set_constraint(FixAtoms([0]))
    crystal.set_momenta(before)
    held = crystal.get_momenta()
    bring_to_rest(crystal)
    np.testing.assert_array_equal(crystal.get_momenta(), held)


def test_a_crystal_is_relaxed_in_its_cell() -> None:
    crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    cell = crystal.cell.copy()
    crystal.rattle(0.1, seed=1)
    crystal.calc = EMT()
    assert relax(crystal, fmax=0.01)
    assert np.abs(crystal.get_forces()).max() < 0.01
    np.testing.assert_array_equal(crystal.cell, cell)


def test_a_thermal_start() -> None:
    atoms = water()
    before = atoms.positions.copy()
    start = thermal_start(atoms, 300.0, np.random.default_rng(1), equilibration_ps=0.02)
    np.testing.assert_array_equal(atoms.positions, before)
    assert atoms.calc is not None
    assert start.atoms.calc is None
    assert start.relaxed.calc is None
    np.testing.assert_allclose(start.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(start.atoms.get_angular_momentum(), 0.0, atol=1e-9)
    assert np.abs(start.atoms.positions - start.relaxed.positions).max() > 1e-3
    again = thermal_start(water(), 300.0, np.random.default_rng(1), equilibration_ps=0.02)
    np.testing.assert_allclose(again.atoms.positions, start.atoms.positions, atol=1e-10)


def test_without_equilibration_the_momenta_are_as_drawn() -> None:
    start = thermal_start(water(), 300.0, np.random.default_rng(2), equilibration_ps=0.0)
    np.testing.assert_array_equal(start.atoms.positions, start.relaxed.positions)
    drawn = start.relaxed.copy()
    thermalize_momenta(drawn, 300.0, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(start.atoms.get_momenta(), drawn.get_momenta())


def test_the_temperature_of_many_starts() -> None:
    """Langevin dynamics of 0.4 ps shares the heat with the vibrations: 3 N - 6 are left."""
    kinetic = [
        thermal_start(water(), 300.0, np.random.default_rng(seed), 0.4).atoms.get_kinetic_energy()
        for seed in range(8)
    ]
    temperature = 2.0 * np.array(kinetic) / (3.0 * units.KB)
    error = temperature.std(ddof=1) / np.sqrt(len(temperature))
    assert abs(temperature.mean() - 300.0) < 4.0 * error
