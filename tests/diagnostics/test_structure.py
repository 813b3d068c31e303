"""Radial distributions of lattices and of an ideal gas."""

import numpy as np
import pytest
from ase.build import bulk

from kstep_integrators.diagnostics import radial_distribution, radial_distributions

EVERY = (True, True, True)


def test_shells_of_a_face_centred_lattice():
    atoms = bulk("Cu", cubic=True, a=4.0)
    found = radial_distribution(atoms.positions, atoms.cell[:], range(4), range(4), 4.2, 84)
    shells = found.density > 0
    # a / sqrt 2 with 12 neighbours, a with 6; the cell is smaller than twice the limit.
    np.testing.assert_allclose(found.distances[shells], [2.825, 4.025], atol=0.03)
    volume = 4.0 / 3.0 * np.pi * ((found.distances + 0.025) ** 3 - (found.distances - 0.025) ** 3)
    counts = found.density[shells] * volume[shells] * 3 / 4.0**3
    np.testing.assert_allclose(counts, [12, 6])


def test_two_groups_of_rock_salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    sodium = np.flatnonzero(atoms.numbers == 11)
    chlorine = np.flatnonzero(atoms.numbers == 17)
    found = radial_distribution(atoms.positions, atoms.cell[:], sodium, chlorine, 3.5, 70)
    assert found.distances[found.density.argmax()] == pytest.approx(2.8, abs=0.03)
    same = radial_distribution(atoms.positions, atoms.cell[:], sodium, sodium, 3.5, 70)
    assert same.density.max() == 0.0


def test_an_ideal_gas_in_a_skewed_cell_is_flat():
    rng = np.random.default_rng(0)
    cell = np.array([[9.0, 0.0, 0.0], [3.0, 8.0, 0.0], [1.0, 2.0, 7.0]])
    frames = rng.random((60, 40, 3)) @ cell
    found = radial_distribution(frames, cell, range(40), range(40), 5.0, 10)
    pairs = 60 * 40 * 39 * 4 / 3 * np.pi * np.diff(np.linspace(0, 5, 11) ** 3) / np.linalg.det(cell)
    # Each pair is counted from both ends, so that half as many counts are independent.
    assert np.abs((found.density - 1.0) * np.sqrt(pairs / 2)).max() < 3.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pbc": (True, True, False)}, "periodic in all directions"),
        ({"cell": np.zeros((3, 3))}, "periodic in all directions"),
        ({"first": []}, "at least one atom"),
        ({"limit": 0.0}, "must be positive"),
        ({"bins": 0}, "must be positive"),
        ({"first": [0], "second": [0]}, "no pair"),
    ],
)
def test_refusals(change, message):
    atoms = bulk("Cu", cubic=True)
    arguments = {
        "positions": atoms.positions,
        "cell": atoms.cell[:],
        "first": [0, 1],
        "second": [0, 1],
        "limit": 3.0,
        "bins": 10,
        "pbc": EVERY,
    }
    with pytest.raises(ValueError, match=message):
        radial_distribution(**{**arguments, **change})


def test_all_pairs_of_elements_at_once():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.numbers[0] = 3  # a single atom
    frames = atoms.positions + np.random.default_rng(0).normal(0.0, 0.2, (4, 8, 3))
    found = radial_distributions(frames, atoms.cell[:], atoms.numbers, 5.0, 25)
    assert list(found) == ["Li-Na", "Li-Cl", "Na-Na", "Na-Cl", "Cl-Cl"]
    for pair, both in {"Li-Na": (3, 11), "Na-Cl": (11, 17), "Cl-Cl": (17, 17)}.items():
        groups = [np.flatnonzero(atoms.numbers == z) for z in both]
        alone = radial_distribution(frames, atoms.cell[:], *groups, 5.0, 25)
        np.testing.assert_allclose(found[pair].density, alone.density, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2), (0, 4, 3)])
def test_positions_have_a_shape(shape):
    with pytest.raises(ValueError, match="positions have shape"):
        radial_distributions(np.zeros(shape), np.eye(3), [1, 1, 1], 1.0)
