"""Molecules and atoms that follow a change of the cell."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixBondLengths, FixCom

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.scaled_bodies import cell_volume, find_bodies, scaled
from tests.periodic_systems import SKEWED, dimers, gas

FACTORS = torch.tensor([1.03, 0.9, 1.2], dtype=torch.float64)


def bonds_of(state, pairs):
    """Lengths of bonds, each to the nearest image."""
    x, cell = state.positions.numpy(), state.cell[0].numpy()
    vectors = x[pairs[:, 1]] - x[pairs[:, 0]]
    vectors -= np.round(vectors @ np.linalg.inv(cell)) @ cell
    return np.linalg.norm(vectors, axis=1)


@pytest.mark.parametrize("scales", ["molecules", "atoms"])
def test_a_change_is_undone_by_its_inverse(scales):
    state = state_from_atoms(dimers(cell=SKEWED))
    bodies = find_bodies(state, scales)
    there = scaled(state, bodies, FACTORS)
    assert cell_volume(there.cell[0]) == pytest.approx(
        float(FACTORS.prod()) * cell_volume(state.cell[0]), rel=1e-12
    )
    back = scaled(there, bodies, 1.0 / FACTORS)
    torch.testing.assert_close(back.positions, state.positions, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(back.cell, state.cell, rtol=0.0, atol=1e-12)
    assert there.momenta is state.momenta


@pytest.mark.parametrize(("scales", "count"), [("molecules", 5), ("atoms", 10)])
def test_the_determinant_is_that_of_the_test(scales, count):
    state = state_from_atoms(dimers(cell=SKEWED))
    bodies = find_bodies(state, scales)
    assert bodies.count == count
    jacobian = torch.autograd.functional.jacobian(
        lambda x: scaled(state.replace(positions=x), bodies, FACTORS).positions, state.positions
    )
    determinant = torch.linalg.det(jacobian.reshape(30, 30))
    assert float(determinant) == pytest.approx(float(FACTORS.prod()) ** count, rel=1e-9)


def test_molecules_keep_their_geometry_also_across_the_faces_of_the_cell():
    pairs = np.arange(10).reshape(-1, 2)
    whole, wrapped = dimers(cell=SKEWED, wrapped=False), dimers(cell=SKEWED)
    assert not np.allclose(whole.positions, wrapped.positions)
    ends = []
    for atoms in (whole, wrapped):
        state = state_from_atoms(atoms)
        before = bonds_of(state, pairs)
        there = scaled(state, find_bodies(state, "molecules"), FACTORS)
        np.testing.assert_allclose(bonds_of(there, pairs), before, rtol=0.0, atol=1e-12)
        ends.append(there)
    apart = torch.linalg.solve(ends[0].cell[0].T, (ends[0].positions - ends[1].positions).T)
    torch.testing.assert_close(apart, apart.round(), rtol=0.0, atol=1e-12)  # images of each other


def test_a_held_centre_of_mass_stays():
    atoms = gas()
    atoms.set_constraint(FixCom())
    state = state_from_atoms(atoms)
    there = scaled(state, find_bodies(state, "atoms"), FACTORS)
    np.testing.assert_allclose(
        there.positions.numpy().mean(0), state.positions.numpy().mean(0), rtol=0.0, atol=1e-12
    )


def test_fixed_bonds_make_molecules_and_follow_the_cell():
    atoms = dimers()
    apart = np.array([2.5, 0.0, 0.0])  # too far for what is bonded
    atoms.positions[1::2] = atoms.positions[::2] + apart
    atoms.positions[:, 0] -= 1.0
    atoms.wrap()
    atoms.set_constraint(
        FixBondLengths([(i, i + 1) for i in range(0, 10, 2)], bondlengths=[2.5] * 5)
    )
    state = state_from_atoms(atoms)
    bodies = find_bodies(state, "molecules")
    assert bodies.count == 5
    there = scaled(state, bodies, FACTORS)
    first, second = there.bonds[:, 0], there.bonds[:, 1]
    vectors = there.positions[second] - there.positions[first] + there.bond_offsets
    torch.testing.assert_close(vectors.norm(dim=1), there.bond_lengths, rtol=0.0, atol=1e-12)
    assert bool((there.bond_offsets != 0).any())


def test_a_network_of_bonds_through_the_cell_is_no_molecule():
    for atoms in (bulk("Cu", cubic=True), Atoms("H", cell=np.eye(3) * 0.7, pbc=True)):
        state = state_from_atoms(atoms)
        assert find_bodies(state, "atoms").count == len(atoms)
    state = state_from_atoms(bulk("Cu", cubic=True))
    with pytest.raises(ValueError, match=r"own periodic image.*use barostat_scales='atoms'"):
        find_bodies(state, "molecules")
