"""Angles and torsions against geometries built by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kstep_integrators.diagnostics import bond_angles, dihedral_angles, distance_between


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 60.0, 90.0, 179.99999, 180.0])
def test_angle_by_construction(degrees: float) -> None:
    a = np.radians(degrees)
    x = [[1.3, 0.0, 0.0], [0.0, 0.0, 0.0], [0.9 * np.cos(a), 0.9 * np.sin(a), 0.0]]
    assert bond_angles(x, [0, 1, 2]) == pytest.approx([a], abs=1e-12)


@pytest.mark.parametrize("degrees", [-179.0, -60.0, 0.0, 1e-5, 90.0, 180.0])
def test_torsion_by_construction(degrees: float) -> None:
    a = np.radians(degrees)
    # Looking along z from the second atom, positive turns clockwise: from x towards y.
    x = [[1.0, 0.0, -0.4], [0.0, 0.0, 0.0], [0.0, 0.0, 1.5], [np.cos(a), np.sin(a), 1.9]]
    assert dihedral_angles(x, [0, 1, 2, 3]) == pytest.approx([a], abs=1e-12)


def test_agree_with_ase() -> None:
    x = np.random.default_rng(1).normal(size=(3, 6, 3))
    triples = [[0, 1, 2], [5, 3, 1]]
    quadruples = [[0, 1, 2, 3], [5, 3, 1, 2], [4, 0, 5, 1]]
    angles, torsions = bond_angles(x, triples), dihedral_angles(x, quadruples)
    assert angles.shape == (3, 2)
    assert torsions.shape == (3, 3)
    for frame, positions in enumerate(x):
        atoms = Atoms("H6", positions=positions)
        for column, group in enumerate(triples):
            assert np.degrees(angles[frame, column]) == pytest.approx(atoms.get_angle(*group))
        for column, group in enumerate(quadruples):
            found = np.degrees(torsions[frame, column]) % 360.0
            assert found == pytest.approx(atoms.get_dihedral(*group))


def test_distance_of_structures() -> None:
    first = np.zeros((2, 4, 3))
    second = first.copy()
    second[0, 0] = (3.0, 0.0, 4.0)
    second[1] += (0.0, 2.0, 0.0)
    # One of four atoms by 5, and all of them by 2: nothing is moved back.
    np.testing.assert_allclose(distance_between(first, second), [2.5, 2.0])
