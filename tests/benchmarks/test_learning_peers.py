"""Fits of other packages: labels, errors against known answers, parts that are finished."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from benchmarks import results, tables_learning
from benchmarks.learning_peers import PeerOptions, labels, learning_peers
from benchmarks.peer_fits import rms
from kstep_integrators import named_molecule
from kstep_integrators.calculators import xtb_calculator

ROW = {
    "peer": "sgdml", "version": "1.0.3", "cpu_seconds": 2.4, "microseconds": 170.2,
    "train_meV_per_A": 2.2,
}  # fmt: skip


@pytest.fixture
def frames():
    """Three of water, with forces that are counted and not physics."""
    made = []
    for frame in range(3):
        atoms = named_molecule("water")
        atoms.set_velocities(np.full((3, 3), 0.01))
        forces = np.full((3, 3), 0.1 * frame)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
        made.append(atoms)
    return made


def test_labels_are_of_one_run_at_constant_energy():
    made = labels("acetaldoxime", frames=3)
    assert len(made) == 3
    assert made[0].get_chemical_formula() == "C2H5NO"
    totals = [frame.get_total_energy() for frame in made]
    assert np.ptp(totals) < 0.01  # eV; the potential energy alone moves by more
    moved = made[1].positions - made[0].positions
    assert 0.001 < np.sqrt(np.mean(moved**2)) < 0.2  # angstrom in 4 fs
    for frame in made:
        assert np.abs(frame.get_momenta().sum(axis=0)).max() < 1e-6
        again = frame.copy()
        again.calc = xtb_calculator("GFN2-xTB")
        assert frame.get_forces() == pytest.approx(again.get_forces(), abs=5e-3)


def test_errors_are_of_components(frames):
    assert rms(frames, lambda frame: frame.get_forces() + 0.01) == pytest.approx(10.0)
    zero = rms(frames, lambda frame: np.zeros((3, 3)))
    assert zero == pytest.approx(1e3 * np.sqrt((0.1**2 + 0.2**2) / 3))


def test_finished_parts_are_kept(frames, tmp_path):
    folder = tmp_path / "learning_peers"
    folder.mkdir()
    write(folder / "pyrimidine.traj", frames)
    part = folder / "sgdml-pyrimidine.json"
    options = PeerOptions(tmp_path, sgdml=sys.executable, molecules=("pyrimidine",), train=(2,))
    with pytest.raises(subprocess.CalledProcessError):  # sgdml is not installed beside this project
        learning_peers(options)
    assert not part.exists()
    part.write_text(json.dumps([{**ROW, "labels": 2, "test_meV_per_A": 50.9}]))
    (row,) = learning_peers(options)["rows"]
    assert row["molecule"] == "pyrimidine"
    assert row["atoms"] == 3
    assert row["test_meV_per_A"] == 50.9
    kinetic = 0.5 * named_molecule("water").get_masses().sum() * 3 * 0.01**2
    assert row["temperature_K"] == pytest.approx(2 * kinetic / units.kB / 3)
    assert row["force_rms_meV_per_A"] == pytest.approx(1e3 * np.sqrt((0.1**2 + 0.2**2) / 3))


def test_an_environment_has_to_be_named(tmp_path):
    with pytest.raises(ValueError, match="expected --sgdml or --mace"):
        learning_peers(PeerOptions(tmp_path))


def test_the_table_has_a_column_for_each_number_of_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    about = {"molecule": "pyrimidine", "atoms": 10, "temperature_K": 278.4}
    rows = [
        {**about, **ROW, "labels": 20, "test_meV_per_A": 50.9},
        {**about, **ROW, "labels": 60, "test_meV_per_A": 20.1, "cpu_seconds": 7.0},
        {**about, **ROW, "peer": "mace", "labels": 60, "test_meV_per_A": 30.0},
    ]
    (tmp_path / "learning_peers.json").write_text(json.dumps({"rows": rows}))
    lines = tables_learning.learning_peers().splitlines()
    assert lines[2] == "| pyrimidine | 10 | 278 | sGDML 1.0.3 | 51 | 20 | 2 | 2 / 7 | 170 |"
    assert lines[3] == "| pyrimidine | 10 | 278 | MACE (small) 1.0.3 |  | 30 | 2 | 2 | 170 |"
