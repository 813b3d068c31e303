"""Coordination numbers of crystals, counted and integrated, against brute force over images."""

import itertools

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.neighborlist import primitive_neighbor_list

from kstep_integrators.diagnostics import (
    block_error,
    coordination_numbers,
    radial_distribution,
    running_coordination,
)
from kstep_integrators.diagnostics.pair_distances import pairs_within

SKEWED = np.array([[3.1, 0.0, 0.0], [1.4, 2.9, 0.0], [-1.2, 0.8, 3.3]])


def brute(positions, cell, first, second, limit, pbc=(True, True, True)):
    """Distances of all pairs and images within the limit, from the first group."""
    ranges = [range(-14, 15) if periodic else (0,) for periodic in pbc]
    shifts = np.array(list(itertools.product(*ranges))) @ cell
    found = {}
    for i in first:
        gaps = positions[list(second)][:, None] + shifts - positions[i]
        sizes = np.linalg.norm(gaps, axis=2).ravel()
        found[i] = sizes[(sizes < limit) & (sizes > 1e-9)]
    return found


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True)])
def test_cells_smaller_than_the_cutoff_and_atoms_outside(pbc):
    positions = np.random.default_rng(1).normal(0.0, 6.0, (5, 3))
    found = coordination_numbers(positions, SKEWED, [0, 1, 4], range(5), 5.0, pbc)
    expected = brute(positions, SKEWED, [0, 1, 4], range(5), 5.0, pbc)
    assert found.numbers.tolist() == [[len(expected[i]) for i in (0, 1, 4)]]


def test_radial_distribution_of_a_small_skewed_cell():
    positions = np.random.default_rng(2).normal(0.0, 6.0, (5, 3))
    found = radial_distribution(positions, SKEWED, [0, 1, 4], range(5), 7.03, 35)
    sizes = np.concatenate(list(brute(positions, SKEWED, [0, 1, 4], range(5), 7.03).values()))
    edges = np.linspace(0.0, 7.03, 36)
    # An atom and its own image are no pair of an ideal gas, but one of a cell: 3 x 5 - 3 pairs.
    ideal = 12 * 4 / 3 * np.pi * np.diff(edges**3) / np.linalg.det(SKEWED)
    np.testing.assert_allclose(found.density, np.histogram(sizes, edges)[0] / ideal, rtol=1e-12)


def test_a_cell_that_changes():
    crystals = [bulk("Cu", cubic=True, a=a) for a in (3.4, 3.6, 4.4)]
    positions, cells = [a.positions for a in crystals], [a.cell[:] for a in crystals]
    counted = coordination_numbers(positions, cells, [0], range(4), 3.0)
    assert counted.series.tolist() == [12.0, 12.0, 0.0]
    assert (counted.mean, counted.probability(12)) == (8.0, 2 / 3)
    g = radial_distribution(positions, cells, range(4), range(4), 3.0, 30)
    alone = [radial_distribution(a.positions, a.cell[:], range(4), range(4), 3.0, 30)
             for a in crystals]  # fmt: skip
    np.testing.assert_allclose(g.density, np.mean([one.density for one in alone], axis=0))


def test_the_integral_of_the_radial_distribution_counts():
    rng = np.random.default_rng(3)
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 1, 1)
    frames = atoms.positions + rng.normal(0.0, 0.1, (20, len(atoms), 3))
    sodium, chlorine = (np.flatnonzero(atoms.numbers == z) for z in (11, 17))
    for second, density in ((chlorine, 8 / atoms.cell.volume), (sodium, 7 / atoms.cell.volume)):
        g = radial_distribution(frames, atoms.cell[:], sodium, second, 3.4, 34)
        counted = coordination_numbers(frames, atoms.cell[:], sodium, second, 3.4)
        assert running_coordination(g, density)[-1] == pytest.approx(counted.mean, rel=1e-12)
    assert coordination_numbers(frames, atoms.cell[:], sodium, chlorine, 3.6).mean == 6.0
    assert block_error(counted.series[None], 5) >= 0.0


def test_a_slab():
    slab = fcc111("Cu", (3, 3, 3), a=3.6, vacuum=8.0)
    every = range(27)
    numbers = coordination_numbers(slab.positions, slab.cell[:], every, every, 3.0, slab.pbc)
    assert np.sort(numbers.numbers[0]).tolist() == [9.0] * 18 + [12.0] * 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": []}, "at least one atom"),
        ({"cutoff": 0.0}, "limit is 0.0"),
        ({"cell": np.ones((2, 3, 3))}, r"expected \(3, 3\), or \(1, 3, 3\)"),
        ({"positions": np.zeros((4, 2))}, "positions have shape"),
        ({"positions": np.zeros(3)}, "positions have shape"),
    ],
)
def test_refusals(change, message):
    atoms = bulk("Cu", cubic=True)
    arguments = {
        "positions": atoms.positions,
        "cell": atoms.cell[:],
        "first": [0],
        "second": [1],
        "cutoff": 3.0,
    }
    with pytest.raises(ValueError, match=message):
        coordination_numbers(**{**arguments, **change})


def test_a_density_is_positive():
    atoms = bulk("Cu", cubic=True)
    g = radial_distribution(atoms.positions, atoms.cell[:], range(4), range(4), 3.0, 30)
    with pytest.raises(ValueError, match="number_density is 0"):
        running_coordination(g, 0.0)


@pytest.mark.parametrize("seed", range(30))
def test_lists_equal_those_of_ase(seed):
    """Random skewed cells, some smaller than the cutoff, any periodicity, atoms anywhere."""
    rng = np.random.default_rng(seed)
    cell = rng.uniform(2.0, 7.0) * (np.eye(3) + 0.3 * rng.normal(size=(3, 3)))
    positions = rng.normal(0.0, 10.0, (6, 3))
    pbc = tuple(bool(b) for b in rng.integers(0, 2, 3))
    ((_, i, j, distance),) = pairs_within(positions, cell, 5.0, pbc)
    expected = primitive_neighbor_list("ijd", pbc, cell, positions, 5.0)
    assert sorted(zip(i, j, distance.round(9), strict=True)) == sorted(
        zip(expected[0], expected[1], expected[2].round(9), strict=True)
    )
