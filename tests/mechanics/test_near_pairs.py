"""Near pairs are those of ASE, in cells of any shape; the bond watch is right and cheap there."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, graphene
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics import bond_watch
from kstep_integrators.mechanics.bond_watch import bond_changes, find_bonds
from kstep_integrators.mechanics.near_pairs import near_pairs, neighbor_pairs, periodic_cell

CELLS = [
    np.diag([8.0, 9.0, 10.0]),
    [[6.0, 0, 0], [-3.0, 5.2, 0], [0, 0, 9.0]],
    [[0, 3.6, 3.6], [3.6, 0, 3.6], [3.6, 3.6, 0]],
    [[5.0, 0, 0], [4.5, 2.0, 0], [-3.0, 4.0, 6.0]],
    np.diag([2.5, 2.5, 20.0]),
]
BOUNDARIES = [(True, True, True), (True, True, False), (False, True, False), (False,) * 3]


@pytest.mark.parametrize("pbc", BOUNDARIES)
@pytest.mark.parametrize("cell", CELLS)
def test_pairs_and_images_are_those_of_ase(cell, pbc):
    rng = np.random.default_rng(0)
    atoms = Atoms("Cu20", rng.uniform(-15.0, 15.0, (20, 3)), cell=cell, pbc=pbc)
    pairs, _, distances = near_pairs(atoms.positions, atoms.cell[:], pbc, 4.0)
    i, j, d = neighbor_list("ijd", atoms, 4.0)
    kept = i < j
    order = np.lexsort((d[kept], j[kept], i[kept]))
    mine = np.lexsort((distances, pairs[:, 1], pairs[:, 0]))
    np.testing.assert_array_equal(pairs[mine], np.stack([i, j], axis=1)[kept][order])
    np.testing.assert_allclose(distances[mine], d[kept][order], atol=1e-9)


def counted(x, lattice, pbc, reach):
    """Pairs and images within a reach, by looking at every one."""
    fractions = x @ np.linalg.inv(lattice)
    span = np.ceil(
        np.ptp(fractions, axis=0) + reach * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    )
    steps = [range(-int(n) - 1, int(n) + 2) if p else (0,) for n, p in zip(span, pbc, strict=True)]
    images = np.array([*itertools.product(*steps)])
    found = set()
    for i, j in itertools.product(range(len(x)), repeat=2):
        near = np.linalg.norm(x[j] - x[i] + images @ lattice, axis=1) < reach
        found |= {(i, j, *step) for step in images[near].tolist() if i != j or any(step)}
    return found


def test_pairs_in_200_random_cells_are_those_of_brute_force():
    rng, tried = np.random.default_rng(0), 0
    while tried < 200:
        pbc = tuple(bool(one) for one in rng.integers(0, 2, 3))
        cell = rng.normal(size=(3, 3)) * 2.0 + np.diag(rng.uniform(1.5, 6.0, 3))
        lattice = periodic_cell(cell, pbc)
        if abs(np.linalg.det(lattice)) < 2.0:
            continue
        tried += 1
        x, reach = rng.normal(size=(int(rng.integers(1, 7)), 3)) * 6.0, float(rng.uniform(2.0, 6.0))
        pairs, offsets = neighbor_pairs(torch.from_numpy(x), torch.from_numpy(cell), pbc, reach)
        steps = np.rint(offsets.numpy() @ np.linalg.inv(lattice)).astype(int)
        found = [(*pair, *step) for pair, step in zip(pairs.tolist(), steps.tolist(), strict=True)]
        assert len(found) == len(set(found))
        assert set(found) == counted(x, lattice, pbc, reach)
        assert found == sorted(found)


def nearest(state):
    """Distances (N, N) of nearest images, angstrom, by ASE."""
    atoms = Atoms(state.numbers.tolist(), state.positions.numpy(), cell=state.cell[0].numpy())
    atoms.pbc = state.pbc
    return atoms.get_all_distances(mic=True)


STRUCTURES = {
    "slab": fcc111("Cu", (2, 2, 3), vacuum=6),
    "primitive": bulk("Cu") * (2, 2, 2),
    "cell of one bond": bulk("Cu") * (2, 1, 1),
    "hcp": bulk("Mg") * (2, 2, 1),
    "graphene": graphene(size=(2, 2, 1), vacuum=5),
    "rhombohedral": bulk("Bi") * (2, 2, 1),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", STRUCTURES)
def test_vibrations_in_skewed_cells_break_nothing(name, wrapped):
    atoms = STRUCTURES[name].copy()
    atoms.pbc = (True, True, name not in ("slab", "graphene"))
    still, rng = atoms.positions.copy(), np.random.default_rng(1)
    topology = find_bonds(state_from_atoms(atoms))
    radii = covalent_radii[atoms.numbers]
    length = radii[:, None] + radii
    upper = np.triu(np.ones_like(length, dtype=bool), 1)
    pairs = topology.pairs[topology.bonded].unique(dim=0)
    bonded = upper & (nearest(state_from_atoms(atoms)) < 1.3 * length)
    np.testing.assert_array_equal(pairs.numpy(), np.argwhere(bonded))
    for _ in range(20):
        atoms.positions = still + rng.normal(0.0, 0.08, still.shape)
        if wrapped:
            atoms.wrap()
        state = state_from_atoms(atoms)
        far = nearest(state)
        assert not (upper & bonded & (far > 1.6 * length)).any()
        assert not (upper & ~bonded & (far < 1.2 * length)).any()
        topology, told = bond_changes(topology, state)
        assert told == {}


def water_chain(count):
    """Water molecules in a row, 4 angstrom apart, in open space."""
    one = np.array([[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    positions = np.concatenate([one + np.array([4.0 * n, 0, 0]) for n in range(count)])
    return state_from_atoms(Atoms("OHH" * count, positions))


def test_large_systems_list_near_pairs_and_small_ones_all(monkeypatch):
    small, large = find_bonds(water_chain(20)), find_bonds(water_chain(400))
    assert small.origin is None
    assert len(small.pairs) == 60 * 59 // 2
    assert int(large.bonded.sum()) == 800
    assert len(large.pairs) == 400 * 3
    made = []
    make = bond_watch.near_pairs
    monkeypatch.setattr(bond_watch, "near_pairs", lambda *of: made.append(1) or make(*of))
    state = water_chain(400)
    for _ in range(9):
        state = state.replace(positions=state.positions + 0.06 * torch.eye(3).double()[0])
        large, told = bond_changes(large, state)
        assert told == {}
    assert len(made) == 1  # after 0.54 angstrom


@pytest.mark.parametrize("pbc", [False, True])
def test_a_torn_bond_and_one_far_off_are_told_in_one_look(pbc):
    state = water_chain(40).replace(
        cell=torch.diag(torch.tensor([160.0, 20.0, 20.0]).double())[None], pbc=(pbc,) * 3
    )
    topology = find_bonds(state)
    x = state.positions.clone()
    x[1] += torch.tensor([80.0, 0.0, 6.0]).double()
    x[4] = x[118] + torch.tensor([0.0, 0.0, 0.7]).double()
    topology, told = bond_changes(topology, state.replace(positions=x))
    assert set(told) == {0}
    for part in ("O0-H1 has broken", "O3-H4 has broken", "H4-H118 has formed (0.70 A)"):
        assert told[0].count(part) == 1
    assert bond_changes(topology, state.replace(positions=x))[1] == {}
    assert "O3-H4 has formed" in bond_changes(topology, state)[1][0]


def test_a_lost_atom_blinds_no_watch_on_others():
    state = water_chain(40)
    topology = find_bonds(state)
    x = state.positions.clone()
    x[7] = torch.nan
    topology, told = bond_changes(topology, state.replace(positions=x))
    assert told == {}
    x[10] += 3.0
    topology, told = bond_changes(topology, state.replace(positions=x))
    assert told.keys() == {0}
    assert told[0].startswith("the bond O9-H10 has broken")
    assert set(bond_changes(topology, state)[1][0].split("; ")) == {
        "the bond O9-H10 has formed (0.96 A)"
    }


def test_a_changed_cell_is_seen():
    atoms = Atoms("H2", [[0, 0, 0.2], [0, 0, 3.4]], cell=[4, 4, 4], pbc=True)
    state = state_from_atoms(atoms)
    topology = find_bonds(state)
    assert topology.bonded.tolist() == [True]
    wide = state.replace(cell=2.0 * state.cell)
    assert "has broken (3.20 A)" in bond_changes(topology, wide)[1][0]
