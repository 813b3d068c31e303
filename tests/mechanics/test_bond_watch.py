"""Bonds are found, and their changes told once."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from kstep_integrators import KStepDynamics, KStepWarning, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.bond_watch import bond_changes, find_bonds
from tests.conftest import cheap
from tests.step.test_guard import twice


def moved(state, atom, other, distance):
    """The state with one atom at a distance from another, along the line between them."""
    x = state.positions.clone()
    line = x[atom] - x[other]
    x[atom] = x[other] + distance * line / line.norm()
    return state.replace(positions=x)


@pytest.mark.parametrize(("name", "bonds"), [("ethanol", 8), ("malonaldehyde", 8), ("methane", 4)])
def test_bonds_of_molecules(name, bonds):
    state = state_from_atoms(named_molecule(name))
    assert int(find_bonds(state).bonded.sum()) == bonds
    assert int(find_bonds(twice(state)).bonded.sum()) == 2 * bonds


def test_changes_are_told_once_and_vibrations_not_at_all():
    state = state_from_atoms(named_molecule("methane"))
    topology = find_bonds(state)
    for distance in (0.9, 1.3, 1.65):
        assert bond_changes(topology, moved(state, 1, 0, distance))[1] == {}
    topology, told = bond_changes(topology, moved(state, 1, 0, 1.75))
    assert told == {0: "the bond C0-H1 has broken (1.75 A)"}
    for distance in (1.75, 1.65, 1.4):
        assert bond_changes(topology, moved(state, 1, 0, distance))[1] == {}
    topology, told = bond_changes(topology, state)
    assert told == {0: "the bond C0-H1 has formed (1.08 A)"}
    assert int(topology.bonded.sum()) == 4


def test_molecules_of_a_batch_have_no_bonds_with_each_other():
    state = twice(state_from_atoms(named_molecule("methane")))
    topology = find_bonds(state)
    assert topology.pairs.shape == (2 * 10, 2)
    _, told = bond_changes(topology, moved(state, 7, 5, 2.0))
    assert told == {1: "the bond C0-H2 has broken (2.00 A)"}


def test_bonds_across_a_cell_wall():
    atoms = named_molecule("methane")
    atoms.set_cell([8.0, 9.0, 10.0])
    atoms.pbc = (True, False, True)
    atoms.center()
    atoms.positions[:, 0] += 4.0
    atoms.wrap()
    state = state_from_atoms(atoms)
    assert int(find_bonds(state).bonded.sum()) == 4
    cut = state.replace(pbc=(False, False, False))
    assert int(find_bonds(cut).bonded.sum()) < 4
    assert torch.equal(state.cell, cut.cell)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("pbc", [False, True])
def test_metal_atoms_of_cells_and_clusters_are_followed_and_not_told_of(many, pbc):
    """Atoms of the second shell of copper come as near as bonds are at 1000 K."""
    atoms = Atoms("Cu2CO", [[0, 0, 0], [3.6, 0, 0], [0, 0, 1.9], [0, 0, 3.05]])
    atoms += Atoms(f"Cu{3 if many else 2}", [[0, 9.0 * n, 9.0] for n in range(3 if many else 2)])
    atoms.set_cell([30.0] * 3)
    atoms.pbc = pbc
    state = state_from_atoms(atoms)
    topology, told = bond_changes(find_bonds(state), moved(state, 1, 0, 3.1))
    assert told == ({} if many or pbc else {0: "the bond Cu0-Cu1 has formed (3.10 A)"})
    assert (0, 1) in map(tuple, topology.pairs[topology.bonded].tolist())
    told = bond_changes(topology, moved(state, 2, 0, 3.4))[1]  # and C as ever
    assert "the bond Cu0-C2 has broken (3.40 A)" in told[0]


SALTS = [
    ("NaCl", "rocksalt", 5.64),
    ("MgO", "rocksalt", 4.21),
    ("CsCl", "cesiumchloride", 4.12),
    ("Cu", "fcc", 3.61),
]


@pytest.mark.parametrize("salt", SALTS)
def test_melts_of_salts_and_metals_are_quiet(salt):
    """Cations and metal atoms wander, by an angstrom and more, and neighbours change."""
    name, structure, a = salt
    state = state_from_atoms(bulk(name, structure, a=a) * (4, 4, 4))
    topology = find_bonds(state)
    before = int(topology.bonded.sum())
    mobile = (state.numbers != 8) & (state.numbers != 17)
    rng = np.random.default_rng(0)
    for _ in range(20):
        walk = torch.from_numpy(rng.normal(0.0, 0.3, state.positions.shape)) * mobile[:, None]
        state = state.replace(positions=state.positions + walk)
        topology, told = bond_changes(topology, state)
        assert told == {}
    assert int(topology.bonded.sum()) != before


def test_a_molecule_beside_ions_is_still_watched():
    atoms = named_molecule("methane") + Atoms("NaCl", [[5.0, 0, 0], [7.5, 0, 0]])
    atoms.set_cell([14.0] * 3)
    atoms.pbc = True
    state = state_from_atoms(atoms)
    after = moved(state, 2, 0, 2.0)
    topology, told = bond_changes(find_bonds(state), after)
    assert told == {0: "the bond C0-H2 has broken (2.00 A)"}
    assert bond_changes(topology, moved(after, 6, 5, 5.0))[1] == {}


def test_a_run_warns_of_a_bond_that_breaks(atoms):
    away = atoms.positions[8] - atoms.positions[2]
    momenta = atoms.get_momenta()
    momenta[8] += 1.2 * away
    atoms.set_momenta(momenta)
    atoms.calc = cheap(depth=0.1).calculator
    dynamics = KStepDynamics(atoms, cheap(depth=0.1), k=4)
    with pytest.warns(KStepWarning, match=r"the bond .*H8 has broken .*may not cover what follows"):
        dynamics.run(60)
    assert dynamics.stats.bond_changes >= 1
    assert dynamics.stats.fallbacks == 0
