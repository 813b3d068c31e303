"""Trajectories of a prepared folder: shards, resumption, failures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from kstep_integrators.cli import main
from kstep_training import simulate as module
from kstep_training.prep import Molecule
from kstep_training.prepare import PrepSettings, prepare
from kstep_training.simulate import simulate
from kstep_training.simulate_settings import SimulateSettings
from kstep_training.trajectory import read_npz

TINY = SimulateSettings(
    trajectories=1, segments=2, equilibration_ps=0.05, segment_ps=0.02, refresh_ps=0.02
)
SHARDS = [
    "equilibration/water.300K.0.npz",
    "production/water.300K.0.0.npz",
    "production/water.300K.0.1.npz",
]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    list(prepare([Molecule("water", "O", 1)], folder, PrepSettings(conformers=1)))
    return folder


def shards(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npz"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A worker that is a thread of this process, which begins at once."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def run(
    prepared: Path, folder: Path, cluster: str, settings: SimulateSettings = TINY
) -> dict[str, Any]:
    total, reports = simulate(prepared, folder, settings, scheduler=cluster)
    found = dict(reports)
    assert len(found) == total
    return found


def refuse(function: Any, jobs: Any, *arguments: Any) -> Iterator[Any]:
    if jobs:
        raise AssertionError("a worker was started")
    yield from ()


def test_a_run_that_was_interrupted_gives_the_same_shards(
    prepared: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = {"water.300K.0": {"status": "done", "segments": 2, "frames": 82}}
    assert run(prepared, whole, cluster) == expected
    assert shards(whole) == SHARDS
    assert json.loads((whole / "manifest.json").read_text())["molecules"] == expected

    # What is there when a worker is killed within the last segment.
    shutil.copytree(whole, cut)
    (cut / SHARDS[2]).unlink()
    (cut / "production" / "water.300K.0.1.npz.partial").write_bytes(b"half")
    manifest = json.loads((cut / "manifest.json").read_text())
    (cut / "manifest.json").write_text(json.dumps({**manifest, "molecules": {}}))
    stamp = (cut / SHARDS[1]).stat().st_mtime_ns
    assert run(prepared, cut, cluster) == expected
    assert (cut / SHARDS[1]).stat().st_mtime_ns == stamp
    for name in SHARDS:
        one, other = read_npz(whole / name), read_npz(cut / name)
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.velocities, other.velocities)
    assert not list(cut.rglob("*.partial"))

    monkeypatch.setattr(module, "map_tasks", refuse)
    assert run(prepared, whole, cluster) == expected


def test_an_explosion_is_reported_and_the_others_go_on(
    prepared: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Springs that push, in a copy of water under another name.
    shutil.copytree(prepared / "water", prepared / "doomed")
    system = prepared / "doomed" / "system.xml"
    text = system.read_text()
    system.write_text(text.replace('energy="k/2*d^2', 'energy="-20*k*d^2'))
    assert system.read_text() != text
    (prepared / "broken").mkdir()
    (prepared / "broken" / "conformers.xyz").write_text("nothing")

    folder = tmp_path / "out"
    reports = run(prepared, folder, cluster)
    assert reports["water.300K.0"]["status"] == "done"
    assert reports["doomed.300K.0"]["status"] == "ended"
    assert reports["doomed.300K.0"]["segments"] == 0
    assert "more than 10 times the 300 K" in reports["doomed.300K.0"]["reason"]
    assert reports["broken.300K.0"]["status"] == "failed"
    assert json.loads((folder / "manifest.json").read_text())["molecules"] == reports
    assert shards(folder) == SHARDS

    # What exploded would do so again, what failed may have been put right.
    monkeypatch.setattr(module, "map_tasks", refuse)
    with pytest.raises(AssertionError, match="a worker was started"):
        run(prepared, folder, cluster)
    shutil.rmtree(prepared / "broken")
    assert run(prepared, folder, cluster)["doomed.300K.0"] == reports["doomed.300K.0"]


def test_other_settings_or_another_force_field_are_refused(prepared: Path, tmp_path: Path) -> None:
    simulate(prepared, tmp_path / "out", TINY)
    with pytest.raises(ValueError, match="made with other settings"):
        simulate(prepared, tmp_path / "out", SimulateSettings())
    manifest = prepared / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"mmff94"', '"mmff94s"'))
    with pytest.raises(ValueError, match="made with other settings"):
        simulate(prepared, tmp_path / "out", TINY)


def test_the_command(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["segments=1", "trajectories=1", "equilibration_ps=0.02", "segment_ps=0.01"]
    assert main(["simulate", str(prepared), *words, "--workers", "1"]) == 0
    assert (
        "1 trajectories done in prepared_mm, 0 ended early, 0 failed; 21 frames"
        in capsys.readouterr().out
    )
    assert shards(tmp_path / "prepared_mm") == SHARDS[:2]
    assert main(["simulate", str(tmp_path)]) == 2
    assert "run kstep prep first" in capsys.readouterr().err
    assert main(["simulate", str(prepared), "segment=1"]) == 2
    assert "did you mean 'segments'" in capsys.readouterr().err
