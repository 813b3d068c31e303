"""Generation of data, with tblite and RDKit themselves, on molecules of a few atoms."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as build

from kstep_integrators import units
from kstep_training import sample as module
from kstep_training.prep import Molecule
from kstep_training.sample import SimulateSettings, bonds, sample_molecule, simulate
from kstep_training.trajectory import Trajectory, read_npz

TINY = SimulateSettings(
    temperatures=(300.0, 500.0),
    frames_per_atom=1,
    min_frames=4,
    max_frames=6,
    equilibration_steps=5,
    interval_steps=3,
    conformers=1,
    distorted_fraction=0.5,
)
WATER = Molecule("water", "O", 1)
AMMONIA = Molecule("ammonia", "N", 2)
BROKEN = Molecule("broken", "C1CC", 3)


@pytest.fixture(scope="module")
def water() -> Trajectory:
    return sample_molecule(WATER, TINY)


def gfn2(trajectory: Trajectory, frame: int, charge: int = 0) -> Atoms:
    from tblite.ase import TBLite

    atoms = Atoms(trajectory.numbers, positions=trajectory.positions[frame])
    atoms.calc = TBLite(method="GFN2-xTB", charge=charge, verbosity=0)
    return atoms


def test_bonds_of_ethanol() -> None:
    atoms = build("CH3CH2OH")
    assert len(bonds(atoms)) == 8
    atoms.positions[-1] += 3.0
    assert len(bonds(atoms)) < 8


def test_frames_are_counted_and_labelled(water: Trajectory) -> None:
    # The relaxed conformer, four frames at each of two temperatures, and half as many distorted.
    assert len(water) == 1 + 2 * 4 + 4
    assert water.has_label.all()
    assert sorted(set(water.temperature)) == [0.0, 300.0, 500.0]
    assert water.metadata["ended_early"] == []
    assert water.metadata["settings"]["seed"] == 0
    for frame in (1, len(water) - 1):
        atoms = gfn2(water, frame)
        # Warm and cold starts of the self-consistent charges differ in the fourth digit.
        np.testing.assert_allclose(atoms.get_potential_energy(), water.energies[frame], atol=1e-4)
        np.testing.assert_allclose(atoms.get_forces(), water.forces[frame], atol=2e-3)


def test_times_and_speeds_have_their_units(water: Trajectory) -> None:
    hot = water.temperature == 500.0
    wanted = (5 + 3 * np.arange(1, 5)) * TINY.timestep_fs * units.FS
    np.testing.assert_allclose(water.time[hot], wanted)
    # From momenta drawn at 500 K, less what has flowed into the bonds: a factor of 10.18 squared,
    # which a mistaken unit of time would cost, does not fit between these limits.
    kinetic = 0.5 * (water.masses[:, None] * water.velocities[hot] ** 2).sum(axis=(1, 2))
    temperature = 2.0 * kinetic / (3 * len(water.numbers) * units.KB)
    assert 50.0 < temperature.mean() < 2500.0


def test_the_same_seed_gives_the_same_start_and_another_does_not(water: Trajectory) -> None:
    again = sample_molecule(WATER, TINY)
    np.testing.assert_allclose(again.positions[:5], water.positions[:5], atol=1e-3)
    other = sample_molecule(WATER, dataclasses.replace(TINY, seed=1))
    assert np.abs(other.positions[1] - water.positions[1]).max() > 1e-2


def test_an_ion_is_labelled_with_its_charge() -> None:
    settings = dataclasses.replace(TINY, temperatures=(300.0,), distorted_fraction=0.0)
    hydroxide = sample_molecule(Molecule("hydroxide", "[OH-]", 1), settings)
    charged = gfn2(hydroxide, 0, charge=-1).get_potential_energy()
    neutral = gfn2(hydroxide, 0).get_potential_energy()
    assert abs(hydroxide.energies[0] - charged) < 1e-4 < abs(neutral - charged)


def test_a_broken_bond_ends_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_heavy_broken", lambda atoms, graph: True)
    found = sample_molecule(WATER, TINY)
    assert set(found.metadata["ended_early"]) == {"300 K: a bond broke", "500 K: a bond broke"}
    assert set(found.temperature) == {0.0}


def test_forces_that_are_absurd_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FORCE", 0.0)
    with pytest.raises(ValueError, match="water: no usable frame"):
        sample_molecule(WATER, TINY)


def test_a_failure_is_reported_and_finished_shards_are_kept(tmp_path: Path) -> None:
    first = dict(simulate([WATER, BROKEN], tmp_path, TINY, workers=1))
    assert first["water"]["status"] == "done"
    assert first["water"]["frames"] == len(read_npz(tmp_path / "water.npz"))
    assert first["broken"]["status"] == "failed"
    assert "ValueError" in first["broken"]["reason"]
    assert "C1CC" in first["broken"]["reason"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["molecules"] == first

    stamp = (tmp_path / "water.npz").stat().st_mtime_ns
    second = dict(simulate([WATER, AMMONIA], tmp_path, TINY, workers=2))
    assert second["water"] == first["water"]
    assert (tmp_path / "water.npz").stat().st_mtime_ns == stamp
    assert second["ammonia"]["status"] == "done"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"water.npz", "ammonia.npz", "manifest.json"}


def test_when_all_is_there_no_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(module.multiprocessing, "get_context", refuse)
    (tmp_path / "water.npz").write_bytes(b"")
    assert list(simulate([WATER], tmp_path, TINY)) == [("water", {"status": "done"})]


def test_other_settings_are_refused_even_before_the_first_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.multiprocessing, "get_context", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(simulate([WATER], tmp_path, TINY))
    other = dataclasses.replace(TINY, seed=3)
    with pytest.raises(ValueError, match=r"made with other settings.*'seed': 0.*'seed': 3"):
        list(simulate([WATER], tmp_path, other))
