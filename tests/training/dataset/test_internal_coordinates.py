"""Which bonds, angles and dihedrals a molecule has, and their moments."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule as build

from kstep_training.dataset.internal_coordinates import (
    coordinate_moments,
    equilibrium,
    internal_coordinates,
)


def of(formula: str) -> dict[str, list[list[int]]]:
    atoms = build(formula)
    return internal_coordinates(atoms.numbers.astype(np.int64), atoms.positions)


def test_water() -> None:
    assert of("H2O") == {"bonds": [[0, 1], [0, 2]], "angles": [[1, 0, 2]], "dihedrals": []}


def test_hydrogen_peroxide() -> None:
    """O O H H: one dihedral, H-O-O-H."""
    result = of("H2O2")
    assert result["bonds"] == [[0, 1], [0, 2], [1, 3]]
    assert result["angles"] == [[1, 0, 2], [0, 1, 3]]
    assert result["dihedrals"] == [[2, 0, 1, 3]]


@pytest.mark.parametrize(
    ("formula", "counts"),
    [
        ("CH4", (4, 6, 0)),
        ("C2H6", (7, 12, 9)),
        ("C6H6", (12, 18, 24)),
        # A ring of three: no dihedral from an atom to itself.
        ("C3H6_D3h", (9, 18, 24)),
        # Straight chains have angles, but no dihedrals about them.
        ("C2H2", (3, 2, 0)),
        ("CH3CN", (5, 7, 0)),
        ("N2", (1, 0, 0)),
    ],
)
def test_counts(formula: str, counts: tuple[int, int, int]) -> None:
    result = of(formula)
    assert tuple(len(rows) for rows in result.values()) == counts
    for rows in result.values():
        assert all(len(set(row)) == len(row) for row in rows)
        assert len({min(tuple(row), tuple(row[::-1])) for row in rows}) == len(rows)


def test_moments_of_shards_add_up() -> None:
    """Statistics of 7 and 12 frames, joined, are those of 19."""
    rng = np.random.default_rng(0)
    atoms = build("C2H6")
    x = atoms.positions + rng.normal(0.0, 0.05, (19, 8, 3))
    x[7:] *= 1.05  # the means of the two differ
    indices = of("C2H6")
    joined = equilibrium(
        [coordinate_moments(x[:7], indices), coordinate_moments(x[7:], indices)], [7, 12]
    )
    whole = equilibrium([coordinate_moments(x, indices)], [19])
    for kind in ("bonds", "angles", "dihedrals"):
        for key in ("mean", "std"):
            np.testing.assert_allclose(joined[kind][key], whole[kind][key], rtol=1e-12)
    i, j = np.array(indices["bonds"]).T
    lengths = np.linalg.norm(x[:, i] - x[:, j], axis=-1)
    np.testing.assert_allclose(joined["bonds"]["mean"], lengths.mean(0), rtol=1e-12)
    np.testing.assert_allclose(joined["bonds"]["std"], lengths.std(0), rtol=1e-12)


def test_dihedrals_have_circular_statistics() -> None:
    """170 and -170 degrees: mean 180, resultant length cos 10 degrees."""
    frames = []
    for degrees in (170.0, -170.0):
        angle = np.radians(degrees)
        end = [np.cos(angle), 1.4, -np.sin(angle)]
        frames.append([[0.0, 0.0, 0.0], [0.0, 1.4, 0.0], [1.0, 0.0, 0.0], end])
    indices = {"bonds": [[0, 1]], "angles": [[2, 0, 1]], "dihedrals": [[2, 0, 1, 3]]}
    result = equilibrium([coordinate_moments(np.array(frames), indices)], [2])["dihedrals"]
    assert abs(result["mean"][0]) == pytest.approx(np.pi)
    assert result["std"][0] == pytest.approx(np.sqrt(-2.0 * np.log(np.cos(np.radians(10.0)))))
