"""Structure factors of an ideal gas and of crystals."""

import numpy as np
import pytest
from ase.build import bulk

from kstep_integrators.diagnostics import structure_factor

SKEWED = np.array([[9.0, 0.0, 0.0], [3.0, 8.0, 0.0], [1.0, 2.0, 7.0]])


def test_an_ideal_gas_has_one():
    frames = np.random.default_rng(0).random((400, 30, 3)) @ SKEWED
    found = structure_factor(frames, SKEWED, 3.0)
    # Exponential distributions of mean 1 (for many atoms), independent over vectors.
    assert abs(found.factor.mean() - 1.0) < 3.0 / np.sqrt(400 * len(found.factor))
    off = (found.factor - 1.0) / found.error
    assert 0.7 < off.std() < 1.6
    k, s, error = found.shells(0.5)
    assert np.all(np.diff(k) > 0.0)
    assert np.all(np.abs(s - 1.0) < 4.0 * error)


def test_wave_vectors_are_half_of_those_of_the_cell():
    found = structure_factor(np.zeros((1, 3)), SKEWED, 2.0)
    assert np.all(found.wavenumbers <= 2.0)
    assert np.all(np.diff(found.wavenumbers) >= -1e-12)
    index = np.rint(found.vectors @ SKEWED.T / (2 * np.pi))
    np.testing.assert_allclose(found.vectors @ SKEWED.T / (2 * np.pi), index, atol=1e-12)
    both = {tuple(row) for row in np.concatenate([index, -index])}
    wide = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3)
    sizes = np.linalg.norm(2 * np.pi * wide @ np.linalg.inv(SKEWED).T, axis=1)
    assert both == {tuple(row) for row in wide[(sizes <= 2.0) & (sizes > 0.0)].astype(float)}


def test_peaks_of_a_crystal_against_the_selection_rules():
    atoms = bulk("Cu", cubic=True, a=3.6) * (2, 1, 1)
    found = structure_factor(atoms.positions, atoms.cell[:], 7.0)
    index = np.rint(found.vectors * 3.6 / (2 * np.pi) * [2, 1, 1]).astype(int)
    whole = index[:, 0] % 2 == 0  # (hkl) of the cubic cell
    h = index // [2, 1, 1]
    alike = (h % 2 == h[:, :1] % 2).all(axis=1)  # all even or all odd
    np.testing.assert_allclose(found.factor, 8.0 * (whole & alike), atol=1e-9)
    assert np.isnan(found.error).all()


def test_groups_and_wrapping():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    sodium, chlorine = (np.flatnonzero(atoms.numbers == z) for z in (11, 17))
    moved = atoms.positions + [[5.6, -11.2, 0.0]] * 8
    arguments = (moved, atoms.cell[:], 2.5)
    same, cross = (
        structure_factor(*arguments, sodium),
        structure_factor(*arguments, sodium, chlorine),
    )
    peaks = same.factor > 1.0
    np.testing.assert_allclose(same.factor[peaks], 4.0)
    # Half a cell apart: opposite phases at odd indices, the same at even ones.
    odd = np.rint(same.vectors * 5.6 / (2 * np.pi)).astype(int)[:, 0] % 2 == 1
    np.testing.assert_allclose(cross.factor[peaks], np.where(odd[peaks], -4.0, 4.0))
    assert odd[peaks].any()
    assert not odd[peaks].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((2, 2))}, "have shapes"),
        ({"cell": np.diag([1.0, 1.0, 0.0])}, "periodic in all directions"),
        ({"first": []}, "groups have 0 and 0 atoms"),
        ({"limit": 0.1}, "limit is 0.1 1/angstrom, and the smallest wavenumber of the cell 0.698"),
        ({"limit": -1.0}, "limit is -1.0"),
    ],
)
def test_refusals(change, message):
    arguments = {"positions": np.zeros((2, 3)), "cell": 9.0 * np.eye(3), "limit": 2.0}
    with pytest.raises(ValueError, match=message):
        structure_factor(**{**arguments, **change})


def test_a_shell_has_a_width():
    with pytest.raises(ValueError, match="width is 0"):
        structure_factor(np.zeros((2, 3)), 9.0 * np.eye(3), 2.0).shells(0.0)
