"""Clusters of fixed bonds: large ones are sparse, and are solved as the dense ones are."""

import time

import numpy as np
import pytest
import torch
from ase import Atoms

from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.rattle import project_momenta
from kstep_integrators.mechanics.rigid_bonds import SparseCluster, cluster_bonds
from kstep_integrators.mechanics.shake import shake


def ladder(count, loops=(), seed=0):
    """A branched chain of atoms in a random walk, with some bonds across, beside some waters."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(count, 3))
    chain = np.cumsum(1.4 * steps / np.linalg.norm(steps, axis=1)[:, None], axis=0)
    branches = chain[::2] + np.array([0.0, 0.0, 1.0])
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    x = np.concatenate([chain, branches, water + 90.0, water - 90.0])
    first = count + len(branches)
    pairs = [(i, i + 1) for i in range(count - 1)]
    pairs += [(count + k, 2 * k) for k in range(len(branches))] + list(loops)
    for start in (first, first + 3):
        pairs += [(start, start + 1), (start, start + 2), (start + 1, start + 2)]
    bonds = torch.tensor(pairs)[torch.from_numpy(rng.permutation(len(pairs)))]
    x = torch.from_numpy(x)
    lengths = (x[bonds[:, 0]] - x[bonds[:, 1]]).norm(dim=1)
    masses = torch.from_numpy(rng.uniform(1.0, 16.0, len(x)))
    momenta = torch.from_numpy(rng.normal(size=x.shape))
    return make_state(torch.ones(len(x)), masses, x, momenta, bonds=bonds, bond_lengths=lengths)


def dense_projection(state):
    """By the definition, with the whole matrix."""
    x, bonds, count = state.positions, state.bonds, len(state.masses)
    rows = torch.zeros(len(bonds), count, 3, dtype=torch.float64)
    between = x[bonds[:, 0]] - x[bonds[:, 1]]
    places = torch.arange(len(bonds))
    rows[places, bonds[:, 0]], rows[places, bonds[:, 1]] = between, -between
    b = rows.flatten(1)
    light = (1.0 / state.masses).expand(-1, 3).flatten()
    p = state.momenta.flatten()
    return (p - b.T @ torch.linalg.solve(b * light @ b.T, b @ (light * p))).view(-1, 3)


@pytest.mark.parametrize("loops", [(), ((0, 5), (7, 60), (3, 20))], ids=["tree", "rings"])
def test_a_large_cluster_is_solved_as_by_the_whole_matrix(loops):
    state = ladder(80, loops)
    small, large = cluster_bonds(state.bonds)
    assert small.bonds.shape == (2, 3)
    assert isinstance(large, SparseCluster)
    assert large.bonds.shape == (1, 119 + len(loops))
    projected = constrain(state, state.momenta)
    np.testing.assert_allclose(projected, dense_projection(state), atol=1e-11)
    moved = state.positions + 0.01 * state.momenta
    shaken = shake(state, moved)
    assert shaken.failures == {}
    i, j = state.bonds.T
    found = (shaken.positions[i] - shaken.positions[j]).norm(dim=1)
    np.testing.assert_allclose(found, state.bond_lengths, rtol=1e-12)
    assert (state.masses * shaken.displacement).sum(0).abs().max() < 1e-11


def test_clusters_of_all_sizes():
    """Those between share a call with others of like size: no place is kept for the largest."""
    pairs, first = [], 0
    for size in (1, 3, 8, 9, 20, 30, 64, 65, 200):
        pairs += [(first + i, first + i + 1) for i in range(size)]
        first += size + 1
    parts = cluster_bonds(torch.tensor(pairs))
    assert [tuple(part.bonds.shape) for part in parts] == [
        (3, 8), (1, 9), (2, 30), (1, 64), (1, 65), (1, 200)
    ]  # fmt: skip
    numbers = torch.cat([part.bonds[part.present] for part in parts])
    assert sorted(numbers.tolist()) == list(range(len(pairs)))
    generator = torch.Generator().manual_seed(0)
    x, p = torch.randn(2, first, 3, generator=generator, dtype=torch.float64)
    light = torch.rand(first, 1, generator=generator, dtype=torch.float64) + 0.1
    kept = project_momenta(torch.tensor(pairs), x, p, light) * light
    i, j = torch.tensor(pairs).T
    assert ((x[i] - x[j]) * (kept[i] - kept[j])).sum(1).abs().max() < 1e-10


def test_bonds_that_repeat_each_other_are_found_in_a_large_cluster():
    nine = ((0, 2), (0, 3), (1, 3), (0, 4), (1, 4))  # with four of the chain: five rigid atoms
    assert len(ladder(80, nine).bonds) == 130
    with pytest.raises(ValueError, match="repeat each other"):
        ladder(80, (*nine, (2, 4)))


def test_a_lost_chain_does_not_take_the_waters_along():
    state = ladder(80)
    wanted = constrain(state, state.momenta)
    state.positions[3] = torch.nan
    found = constrain(state, state.momenta)
    assert torch.equal(found[-6:], wanted[-6:])
    assert found[:120].isnan().all()
    assert shake(state, state.positions).failures


def test_the_share_of_degrees_of_freedom():
    """Of each atom, against the whole matrix: what bonds take is the trace of the projection."""
    state = ladder(80, ((0, 5),))
    share = atomic_degrees_of_freedom(
        state.masses[:, 0].numpy(),
        momentum_conserved=False,
        bonds=state.bonds,
        bond_positions=state.positions,
    )
    assert share.sum() == pytest.approx(3 * len(share) - len(state.bonds))
    rng = np.random.default_rng(1)
    scale = np.sqrt(state.masses.numpy())
    drawn = np.zeros(len(share))
    for _ in range(4000):
        p = constrain(state, torch.from_numpy(rng.normal(size=(len(share), 3)) * scale)).numpy()
        drawn += ((p / scale) ** 2).sum(1) / 4000
    # Each is a mean of 4000 squares: 3 standard deviations of the worst of 126 are 0.16.
    np.testing.assert_allclose(drawn, share, atol=0.2)


def test_a_chain_costs_in_proportion_to_its_length():
    """Eight times as many bonds: eight times the time, where a matrix would take 512."""
    seconds = []
    for count in (1000, 8000):
        state = ladder(count)
        constrain(state, state.momenta)
        before = time.perf_counter()
        for _ in range(3):
            constrain(state, state.momenta)
        seconds.append(time.perf_counter() - before)
    assert seconds[1] < 40.0 * seconds[0]


def test_alkane_chain_in_ase():
    """All bonds of a long chain held in a run: lengths to rounding, energy kept."""
    from ase.calculators.lj import LennardJones
    from ase.constraints import FixBondLengths

    from kstep_integrators import CalculatorPotential, KStepDynamics

    count = 100
    x = np.stack([1.3 * np.arange(count), 0.7 * (np.arange(count) % 2), np.zeros(count)], axis=1)
    atoms = Atoms(f"C{count}", x)
    atoms.set_constraint(FixBondLengths([[i, i + 1] for i in range(count - 1)]))
    state = np.random.default_rng(0)
    atoms.set_momenta(state.normal(size=(count, 3)) * 0.4, apply_constraint=False)
    calculator = {"sigma": 1.5, "epsilon": 0.01, "rc": 5.0, "smooth": True}
    atoms.calc = LennardJones(**calculator)
    dynamics = KStepDynamics(atoms, CalculatorPotential(LennardJones(**calculator)), k=2)
    dynamics.run(1)
    before = atoms.get_total_energy()
    dynamics.run(20)
    (fixed,) = atoms.constraints
    found = np.linalg.norm(np.diff(atoms.positions, axis=0), axis=1)
    np.testing.assert_allclose(found, fixed.bondlengths, rtol=1e-11)
    assert atoms.get_total_energy() == pytest.approx(before, abs=0.01)
