"""Suites of time: their systems, what a ratio is, and tables with gaps."""

import json

import numpy as np
import pytest

from benchmarks import results, tables_cost
from benchmarks.kernel import alkane, in_turns, water_box
from kstep_integrators.models.molecules import bonded_pairs


def test_the_chain_has_the_bonds_of_an_alkane():
    atoms = alkane(6)
    pairs = np.array(bonded_pairs(atoms))
    lengths = np.linalg.norm(atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]], axis=1)
    assert atoms.get_chemical_formula() == "C6H14"
    assert len(pairs) == 19
    assert lengths.min() > 1.05
    assert lengths.max() < 1.56


def test_water_is_as_dense_as_the_liquid():
    atoms = water_box((2, 2, 3))
    assert len(atoms) == 36
    assert atoms.get_masses().sum() / atoms.get_volume() / 0.6022 == pytest.approx(1.0, abs=0.01)
    oxygen = np.flatnonzero(atoms.numbers == 8)
    apart = atoms.get_all_distances(mic=True)[np.ix_(oxygen, oxygen)]
    assert apart[np.triu_indices(len(oxygen), 1)].min() > 2.5


def test_ratios_are_those_of_the_same_round():
    now = [0.0]
    costs = {"first": iter([1.0, 2.0, 1.0]), "other": iter([10.0, 20.0, 10.0])}

    def spend(name):
        now[0] += next(costs[name])

    ways = {name: lambda name=name: spend(name) for name in costs}
    rows = in_turns(ways, 3, "first", lambda: now[0])
    assert rows["other"]["us"] == 10e6
    assert rows["other"]["ratio_range"] == [10.0, 10.0]  # though the machine was slower once


def test_tables_leave_open_what_was_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    rows = [
        {"molecule": "water", "atoms": 3, "peer": "kstep", "version": "1", "us": 50, "weights": 9},
        {"molecule": "alanine", "atoms": 13, "peer": "kstep", "version": "1", "us": 200.0,
         "weights": 9},
        {"molecule": "water", "atoms": 3, "peer": "sgdml", "version": "1.0.3", "us": 100.0,
         "labels": 200},
    ]  # fmt: skip
    (tmp_path / "peers_speed.json").write_text(json.dumps({"rows": rows}))
    lines = tables_cost.peers_speed().splitlines()
    assert lines[2] == "| **this project, kernel** | 9 | 50 us (1) | 200 us (1) |"
    assert lines[3] == "| sGDML 1.0.3 | 200 frames | 100 us (2) |  |"
