"""Trajectories of a prepared folder: shards, resumption, failures."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from distributed import Client, KilledWorker, LocalCluster

from kstep_integrators.cli import main
from kstep_training import reported_tasks
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.simulate import simulate as module
from kstep_training.simulate.engine import Run
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.simulate.simulate import simulate
from kstep_training.trajectory import read_npz
from tests.training.interrupts import interrupt, interruptible

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
    result = dict(reports)
    assert len(result) == total
    return result


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
    same_shards(whole, cut)
    assert not list(cut.rglob("*.partial"))

    monkeypatch.setattr(reported_tasks, "map_tasks", refuse)
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
    monkeypatch.setattr(reported_tasks, "map_tasks", refuse)
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


QM = dataclasses.replace(
    TINY, physics="GFN2-xTB", equilibration_ps=0.005, segment_ps=0.005, refresh_ps=0.005
)


def same_shards(one: Path, other: Path) -> None:
    assert shards(one) == shards(other)
    for name in shards(one):
        left, right = read_npz(one / name), read_npz(other / name)
        np.testing.assert_array_equal(left.positions, right.positions)
        np.testing.assert_array_equal(left.velocities, right.velocities)
        np.testing.assert_array_equal(left.forces, right.forces)
        np.testing.assert_array_equal(left.energies, right.energies)


def test_gfn2_with_distorted_copies_wherever_it_is_cut(
    prepared: Path, tmp_path: Path, cluster: str
) -> None:
    settings = dataclasses.replace(QM, distorted_fraction=0.1, seed=5)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = {"water.300K.0": {"status": "done", "segments": 2, "frames": 42}}
    assert run(prepared, whole, cluster, settings) == expected
    names = ["distorted/water.300K.0.npz", *SHARDS]
    assert shards(whole) == names
    for finished in range(len(names)):
        # In the order in which they are made.
        made = [*names[1:], names[0]][:finished]
        for stage in ("equilibration", "production", "distorted"):
            (cut / stage).mkdir(parents=True)
        for name in made:
            shutil.copy(whole / name, cut / name)
        assert run(prepared, cut, cluster, settings) == expected
        same_shards(whole, cut)
        shutil.rmtree(cut)
    other = tmp_path / "other"
    run(prepared, other, cluster, dataclasses.replace(settings, seed=6))
    for name in names:
        one, two = read_npz(whole / name), read_npz(other / name)
        moved = one.positions[-1] - two.positions[: len(one)][-1]
        assert abs(moved).max() > 1e-3


def test_a_bond_that_breaks_ends_one_trajectory_and_keeps_its_segments(
    prepared: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(QM, temperatures=[300.0, 310.0], distorted_fraction=0.1)
    real = module.segment

    def strike(run: Run, start: Any, before: Any, index: int) -> Any:
        """A blow on a hydrogen atom before the second segment at 300 K."""
        if index and run.temperature == 300.0:
            velocities = before.velocities.copy()
            velocities[-1, 1] *= 6.0 / np.linalg.norm(velocities[-1, 1])  # 18 eV
            hot = dataclasses.replace(run, temperature=30000.0)
            before = dataclasses.replace(before, velocities=velocities)
            return real(hot, start, before, index)
        return real(run, start, before, index)

    monkeypatch.setattr(module, "segment", strike)
    reports = run(prepared, tmp_path / "out", cluster, settings)
    ended = reports["water.300K.0"]
    assert ended["status"] == "ended"
    assert "it broke" in ended["reason"]
    assert (ended["segments"], ended["frames"]) == (1, 21)
    assert reports["water.310K.0"]["status"] == "done"
    result = shards(tmp_path / "out")
    assert "production/water.300K.0.0.npz" in result
    assert "production/water.300K.0.1.npz" not in result
    assert "distorted/water.300K.0.npz" in result


def test_molecules_without_a_force_field(tmp_path: Path, cluster: str) -> None:
    folder = tmp_path / "prepared"
    settings = PrepSettings(conformers=1, forcefield=None)
    list(prepare([Molecule("hydrogen_fluoride", "F", 1)], folder, settings))
    with pytest.raises(ValueError, match=r"prepared without a force field \(forcefield=null\)"):
        simulate(folder, tmp_path / "mm", TINY)
    assert not (tmp_path / "mm").exists()
    reports = run(folder, tmp_path / "qm", cluster, QM)
    assert reports["hydrogen_fluoride.300K.0"]["status"] == "done"
    assert (
        read_npz(tmp_path / "qm" / "production" / "hydrogen_fluoride.300K.0.0.npz").metadata[
            "constraints"
        ]
        is None
    )


def test_every_molecule_temperature_and_number(
    prepared: Path, tmp_path: Path, cluster: str
) -> None:
    list(prepare([Molecule("ethane", "CC", 2)], prepared, PrepSettings(conformers=1)))
    settings = dataclasses.replace(TINY, temperatures=[250.0, 300.5], trajectories=2, segments=1)
    reports = run(prepared, tmp_path / "out", cluster, settings)
    assert list(reports) == [  # the largest first
        f"{name}.{temperature}K.{number}"
        for name in ("ethane", "water")
        for temperature in ("250", "300.5")
        for number in (0, 1)
    ]
    starts = [
        read_npz(tmp_path / "out" / "production" / f"{name}.0.npz").velocities[0]
        for name in reports
        if name.startswith("water")
    ]
    for index, one in enumerate(starts):
        for other in starts[:index]:
            assert abs(one - other).max() > 1e-3


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_no_finished_shard(prepared: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(QM, segments=8, segment_ps=0.02, trajectories=2)
    whole, struck = tmp_path / "whole", tmp_path / "struck"
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        _, reports = simulate(prepared, struck, settings, scheduler=cluster.scheduler_address)
        stamps: dict[str, int] = {}

        def strike() -> None:
            while len(list((struck / "production").glob("*.npz"))) < 2:
                time.sleep(0.05)
            stamps.update({name: (struck / name).stat().st_mtime_ns for name in shards(struck)})
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=strike)
        killer.start()
        result = dict(reports)
        killer.join()
        assert set(result) == {"water.300K.0", "water.300K.1"}
        for report in result.values():
            assert (report["status"], report["segments"]) == ("done", 8)
        assert len(stamps) >= 2
        for name, stamp in stamps.items():
            assert (struck / name).stat().st_mtime_ns == stamp
        _, reports = simulate(prepared, whole, settings, scheduler=cluster.scheduler_address)
        assert dict(reports) == result
    same_shards(whole, struck)


def simulating(prepared: Path, folder: Path, *overrides: str) -> tuple[str, ...]:
    """Words of a command with one worker."""
    fixed = ("trajectories=1", "physics=GFN2-xTB", "--output", str(folder), "--workers", "1")
    return ("simulate", str(prepared), *overrides, *fixed)


@pytest.mark.slow
def test_ctrl_c_leaves_what_can_be_gone_on_with(
    prepared: Path, tmp_path: Path, cluster: str
) -> None:
    folder = tmp_path / "out"
    settings = dataclasses.replace(QM, segments=20, segment_ps=0.02)
    overrides = ["segments=20", "segment_ps=0.02", "equilibration_ps=0.005", "refresh_ps=0.005"]
    with interruptible(*simulating(prepared, folder, *overrides)) as process:
        while process.poll() is None and not list(folder.glob("production/*.0.npz")):
            time.sleep(0.05)
        interrupt(process)
    kept = shards(folder)
    assert kept
    stamps = {name: (folder / name).stat().st_mtime_ns for name in kept}
    assert json.loads((folder / "manifest.json").read_text())["molecules"] == {}
    assert run(prepared, folder, cluster, settings)["water.300K.0"]["segments"] == 20
    for name, stamp in stamps.items():
        assert (folder / name).stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_ctrl_c_while_workers_start(prepared: Path, tmp_path: Path) -> None:
    with interruptible(*simulating(prepared, tmp_path / "out")) as process:
        # multiprocessing's resource tracker, and the worker, which has hardly begun.
        while process.poll() is None and len(psutil.Process(process.pid).children()) < 2:
            time.sleep(0.01)
        interrupt(process)


def test_no_scheduler_is_one_line(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["simulate", str(prepared), "--output", str(tmp_path / "out")]
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert main([*overrides, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "kstep: error: no Dask scheduler answers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*overrides, "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"])
    assert "not allowed with" in capsys.readouterr().err


def test_what_a_lost_worker_leaves_behind(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is reported as failed, and is tried again by the next run."""

    def lose(function: Any, jobs: Any, *arguments: Any) -> Iterator[Any]:
        for job in jobs:
            yield job, KilledWorker("task", SimpleNamespace(address="tcp://a"), 3)

    monkeypatch.setattr(reported_tasks, "map_tasks", lose)
    _, reports = simulate(prepared, tmp_path / "out", TINY)
    report = dict(reports)["water.300K.0"]
    assert report["status"] == "failed"
    assert report["reason"].startswith("KilledWorker: ")
    _, reports = simulate(prepared, tmp_path / "out", TINY)
    assert len(list(reports)) == 1


def test_the_command(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["segments=1", "trajectories=1", "equilibration_ps=0.02", "segment_ps=0.01"]
    assert main(["simulate", str(prepared), *overrides, "--workers", "1"]) == 0
    assert (
        "1 trajectories done in prepared_mm, 0 ended early, 0 failed; 21 frames"
        in capsys.readouterr().out
    )
    assert shards(tmp_path / "prepared_mm") == SHARDS[:2]
    assert main(["simulate", str(tmp_path)]) == 2
    assert "run kstep prep first" in capsys.readouterr().err
    assert main(["simulate", str(prepared), "segment=1"]) == 2
    assert "did you mean 'segments'" in capsys.readouterr().err
