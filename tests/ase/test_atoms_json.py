"""Atoms and results as JSON: exactly, or not at all."""

import datetime as dt

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import Spacegroup

from kstep_integrators.ase.atoms_json import (
    decode_atoms,
    decode_values,
    encode_atoms,
    encode_values,
)


@pytest.mark.parametrize(
    "value",
    [
        0.1 + 0.2, 1e-320, float("inf"), float("nan"), True, None, "text", 2**70, [1, "a", None],
        (1, 2), {"a": {"b": 1.5}}, {1: "a"}, np.float64(0.1), np.array([0.1, np.nan, -0.0, np.inf]),
        np.arange(3, dtype=np.int8), np.array([1 + 2j]), np.array(["a", "bc"]), np.zeros((0, 3)),
        np.array([True, False]), np.float32([0.1]), 1 + 2j,
    ],
    ids=repr,
)  # fmt: skip
def test_what_survives(value):
    text, lost = encode_values({"x": value})
    assert not lost
    found = decode_values(text)["x"]
    np.testing.assert_equal(found, list(value) if isinstance(value, tuple) else value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype
        assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize(
    "value",
    [Spacegroup(225), object(), {"1": "a"}, {(1, 2): "a"}, np.array([object()]), {1, 2},
     dt.datetime(2020, 1, 1)],
    ids=["spacegroup", "object", "number as text", "tuple as key", "objects", "set", "date"],
)  # fmt: skip
def test_what_does_not_is_named(value):
    text, lost = encode_values({"x": value, "y": 1})
    assert lost == ["x"]
    assert decode_values(text) == {"y": 1}


def test_keys_that_do_not_come_back():
    assert encode_values({"1": 2, (1, 2): 3, "a": 4})[1] == ["1", (1, 2)]


def test_atoms():
    atoms = Atoms("HO", [[0, 0, 0.1], [1 / 3, 2, 3]], cell=[1, 2, 3], pbc=[True, False, True])
    atoms.set_celldisp([0.1, 0.2, 0.3])
    atoms.set_momenta(np.full((2, 3), 0.1))
    atoms.info["thing"] = object()
    atoms.set_array("things", np.array([object(), None]))
    text, lost = encode_atoms(atoms)
    assert lost == ["atoms.arrays['things']", "atoms.info['thing']"]
    found = decode_atoms(text)
    assert found == atoms
    np.testing.assert_array_equal(found.get_momenta(), atoms.get_momenta())
    np.testing.assert_array_equal(found.get_celldisp(), atoms.get_celldisp())
