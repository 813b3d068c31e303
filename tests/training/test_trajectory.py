"""The NPZ schema: units on disk worked out by hand, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_training.trajectory import (
    SCHEMA_VERSION,
    Trajectory,
    read_npz,
    trajectory_of,
    write_npz,
)


@pytest.fixture
def trajectory() -> Trajectory:
    rng = np.random.default_rng(5)
    frames, atoms = 4, 3
    return Trajectory(
        numbers=np.array([8, 1, 1]),
        masses=np.array([15.999, 1.008, 2.014]),
        positions=rng.normal(size=(frames, atoms, 3)),
        velocities=rng.normal(size=(frames, atoms, 3)),
        forces=rng.normal(size=(frames, atoms, 3)),
        energies=rng.normal(size=frames),
        temperature=np.array([300.0, 300.0, 500.0, 0.0]),
        time=rng.uniform(size=frames),
        has_label=np.array([True, False, True, True]),
        cell=np.diag([10.0, 11.0, 12.0]),
        pbc=np.array([True, True, False]),
        metadata={"method": "GFN2-xTB", "name": "water"},
        charges=rng.normal(size=(frames, atoms)),
    )


def rewrite(path: Path, **changes: Any) -> None:
    """Replace arrays of a file; None takes one away."""
    with np.load(path) as data:
        arrays = {**data, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_round_trip(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "water.npz"
    write_npz(path, trajectory)
    back = read_npz(path)
    assert len(back) == 4
    for field in dataclasses.fields(Trajectory):
        if field.name != "metadata":
            wanted, got = getattr(trajectory, field.name), getattr(back, field.name)
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=0.0)
    assert back.metadata == {**trajectory.metadata, "schema": SCHEMA_VERSION}
    write_npz(path, dataclasses.replace(trajectory, charges=None))
    assert read_npz(path).charges is None


def test_a_cell_that_changes_is_kept_of_each_frame(trajectory: Trajectory, tmp_path: Path) -> None:
    np.testing.assert_array_equal(trajectory.cells, np.tile(trajectory.cell, (4, 1, 1)))
    cells = trajectory.cells * np.array([1.0, 1.1, 1.2, 1.3])[:, None, None]
    path = tmp_path / "water.npz"
    write_npz(path, dataclasses.replace(trajectory, cell=cells))
    back = read_npz(path)
    np.testing.assert_allclose(back.cell, cells, rtol=1e-14)
    assert back.cells.shape == (4, 3, 3)
    rewrite(path, cell=0.1 * cells[:3])
    with pytest.raises(ValueError, match=r"cell .* shape \(3, 3, 3\), expected \(4, 3, 3\)"):
        read_npz(path)
    cells[2, 1] = 0.0
    rewrite(path, cell=0.1 * cells)
    with pytest.raises(ValueError, match=r"cell .* has no vector along \[1\], which pbc says"):
        read_npz(path)


def test_units_on_disk(trajectory: Trajectory, tmp_path: Path) -> None:
    one = np.ones((4, 3, 3))
    path = tmp_path / "water.npz"
    write_npz(
        path,
        dataclasses.replace(
            trajectory,
            positions=one,
            # One angstrom per femtosecond is a hundred nanometres per picosecond.
            velocities=one / ase.units.fs,
            forces=one,
            energies=np.ones(4),
            time=np.full(4, 250.0 * ase.units.fs),
        ),
    )
    with np.load(path) as data:
        np.testing.assert_allclose(data["positions"], 0.1)
        np.testing.assert_allclose(data["velocities"], 100.0)
        np.testing.assert_allclose(data["energies"], 96.48533, rtol=1e-6)
        np.testing.assert_allclose(data["forces"], 964.8533, rtol=1e-6)
        np.testing.assert_allclose(data["time"], 0.25)
        np.testing.assert_allclose(np.diag(data["cell"]), [1.0, 1.1, 1.2])
        np.testing.assert_array_equal(data["atom_types"], [8, 1, 1])
        assert json.loads(str(data["metadata"]))["schema"] == 1


def test_writing_leaves_no_scraps(trajectory: Trajectory, tmp_path: Path) -> None:
    write_npz(tmp_path / "water.npz", trajectory)
    write_npz(tmp_path / "water.npz", trajectory)
    assert [path.name for path in tmp_path.iterdir()] == ["water.npz"]


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_other_schema_is_refused(trajectory: Trajectory, tmp_path: Path, schema: Any) -> None:
    path = tmp_path / "water.npz"
    write_npz(path, trajectory)
    rewrite(path, metadata=np.array(json.dumps({"schema": schema})))
    with pytest.raises(ValueError, match=rf"has trajectory schema {schema!r}.*reads 1"):
        read_npz(path)


def test_missing_arrays_are_named(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "water.npz"
    write_npz(path, trajectory)
    rewrite(path, forces=None, pbc=None)
    with pytest.raises(ValueError, match=r"lacks the arrays \['forces', 'pbc'\]"):
        read_npz(path)


def test_nothing_is_unpickled(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "water.npz"
    write_npz(path, trajectory)
    rewrite(path, energies=np.array([{}, {}, {}, {}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_npz(path)


def test_frames_of_ase_become_a_trajectory() -> None:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]], cell=[9, 9, 9], momenta=np.ones((2, 3)))
    known = atoms.copy()
    forces = np.arange(6.0).reshape(2, 3)
    known.calc = SinglePointCalculator(known, energy=-1.0, forces=forces)
    made = trajectory_of([atoms, known], np.array([0.0, 1.5]), 300.0, {"method": "none"})
    assert made.has_label.tolist() == [False, True]
    assert np.isnan(made.energies[0])
    assert np.isnan(made.forces[0]).all()
    np.testing.assert_array_equal(made.forces[1], forces)
    np.testing.assert_allclose(made.momenta, 1.0, rtol=1e-15)
    np.testing.assert_array_equal(made.cell, 9.0 * np.eye(3))
    assert made.metadata == {"method": "none"}
    larger = atoms.copy()
    larger.cell = [10, 9, 9]
    made = trajectory_of([atoms, larger], np.array([0.0, 1.5]), 300.0)
    np.testing.assert_array_equal(made.cell, [9.0 * np.eye(3), np.diag([10.0, 9.0, 9.0])])
    larger.pbc = True
    with pytest.raises(ValueError, match=r"frame 1 has pbc = \[True, True, True\] and the first"):
        trajectory_of([atoms, larger], np.zeros(2), 300.0)
    with pytest.raises(ValueError, match="frame 1 has other atoms"):
        trajectory_of([atoms, Atoms("HO", atoms.positions)], np.zeros(2), 300.0)
    with pytest.raises(ValueError, match="expected one at least"):
        trajectory_of([], np.zeros(0), 300.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("positions", np.zeros((4, 3)), r"positions .* shape \(4, 3\), expected \(4, 3, 3\)"),
        ("forces", np.full((4, 3, 3), np.nan), r"forces .* nan .* where has_label is true"),
        ("temperature", np.full(4, -1.0), r"temperature .* -1.0 at \(0,\), expected .* from 0"),
        ("atom_types", np.array([8, 1.5, 1]), r"atom_types .* 1.5 at \(1,\), expected atomic"),
        ("masses", np.array([16.0, 0.0, 1.0]), r"masses .* 0.0 at \(1,\), expected .* above 0"),
        ("cell", np.diag([1.0, 0.0, 1.0]), r"cell .* no vector along \[1\], which pbc says"),
        ("has_label", np.array([0, 1, 2, 1]), r"has_label .* int64, expected true and false"),
        ("metadata", np.array("no JSON"), "metadata .* are no JSON text"),
        ("metadata", np.array('{"schema": 1, "charge": 0.5}'), r"metadata 'charge' .* is 0.5"),
    ],
)
def test_a_field_without_sense_is_named(
    trajectory: Trajectory, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    path = tmp_path / "water.npz"
    write_npz(path, trajectory)
    rewrite(path, **{name: value})
    with pytest.raises(ValueError, match=message):
        read_npz(path)


def test_what_is_refused_is_not_written_either(trajectory: Trajectory, tmp_path: Path) -> None:
    wrong = dataclasses.replace(trajectory, masses=np.array([16.0, 1.0]))
    with pytest.raises(ValueError, match=r"masses .* shape \(2,\), expected \(3,\)"):
        write_npz(tmp_path / "water.npz", wrong)
    assert not list(tmp_path.iterdir())


def test_labels_may_be_unknown_where_there_are_none(trajectory: Trajectory, tmp_path: Path) -> None:
    energies = np.where(trajectory.has_label, trajectory.energies, np.nan)
    write_npz(tmp_path / "water.npz", dataclasses.replace(trajectory, energies=energies))
    np.testing.assert_allclose(read_npz(tmp_path / "water.npz").energies, energies)


def test_another_file_is_no_trajectory(tmp_path: Path) -> None:
    (tmp_path / "water.npz").write_text("3\nwater\n")
    with pytest.raises(ValueError, match=r"water.npz is no NPZ file"):
        read_npz(tmp_path / "water.npz")
