"""The benchmark of single jumps on data of its own, where answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import LocalCluster

from benchmarks.one_jump import (
    JumpOptions,
    Model,
    ballistic,
    compare,
    mean,
    measure,
    one_jump_mm,
    verlet,
)
from benchmarks.references import read_references
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.simulate.simulate import simulate
from tests.direct_systems import silent

FREE, RIGID = {"constraints": None}, {"constraints": "HBonds"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Methanol with free bonds at 0.5 fs and with rigid ones at 2 fs, three trajectories each."""
    folder = tmp_path_factory.mktemp("one_jump")
    settings = SimulateSettings(
        physics="mm", trajectories=3, segments=2, equilibration_ps=0.2, refresh_ps=0.05,
        segment_ps=0.04,
    )  # fmt: skip
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        for name, made in (("free", FREE), ("rigid", RIGID)):
            prep = PrepSettings(conformers=1, **made)
            list(prepare([Molecule("methanol", "CO", 1)], folder / f"{name}_prep", prep))
            _, reports = simulate(
                folder / f"{name}_prep", folder / name, settings,
                scheduler=cluster.scheduler_address,
            )  # fmt: skip
            assert [report["status"] for _, report in reports] == ["done"] * 3
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["free", "rigid"])
def test_verlet_at_the_base_step_is_the_reference(data: dict[str, Path], kind: str) -> None:
    references = read_references([data[kind]], 300.0, prepared=[data[f"{kind}_prep"]])
    assert len(references[0].segments) == 6
    row = measure(references, "verlet", verlet, 1, 20)
    assert (row["jumps"], row["failed"], row["stride_fs"]) == (20, 0, 0.5 if kind == "free" else 2)
    assert row["bond_A"] < 1e-7
    assert row["angle_degrees"] < 1e-5
    assert row["velocity_thermal"] < 1e-6
    # O-H does not vary if it is rigid.
    assert (row["errors"]["bonds"]["H-O"]["thermal"] is None) == (kind == "rigid")
    assert set(row["errors"]["bonds"]) == {"C-H", "C-O", "H-O", "all"}


def test_a_direct_jump_without_increments_is_verlet_at_the_stride(data: dict[str, Path]) -> None:
    references = read_references([data["free"]], 300.0, prepared=[data["free_prep"]])
    rows = {
        name: measure(references, name, method, 4, 20)
        for name, method in (("verlet", verlet), ("silent", Model(silent())))
    }
    for key in ("bond_A", "angle_degrees", "velocity_thermal"):
        assert rows["silent"][key] == pytest.approx(rows["verlet"][key], rel=1e-9)
    assert Model(silent()).makes(4, 0.5)
    assert not Model(silent()).makes(3, 0.5)
    assert not Model(silent()).makes(4, 0.25)


def test_controls(data: dict[str, Path]) -> None:
    references = read_references([data["rigid"]], 300.0, prepared=[data["rigid_prep"]])
    methods = {"ballistic": ballistic, "verlet": verlet, "mean": mean}
    rows = [measure(references, name, method, 2, 20) for name, method in methods.items()]
    by_method = {row["method"]: row for row in rows}
    assert by_method["verlet"]["bond_A"] < by_method["ballistic"]["bond_A"]
    # Both land through SHAKE, to the tolerance of the data.
    for name in ("verlet", "ballistic"):
        assert by_method[name]["errors"]["bonds"]["C-H"]["rmse"] < 1e-6
    assert by_method["mean"]["bond_thermal"] == pytest.approx(1.0, abs=0.5)
    assert by_method["mean"]["errors"]["positions"] is None
    jump = {**by_method["verlet"], "method": "jump", "bond_A": 0.25 * by_method["verlet"]["bond_A"]}
    (compared,) = compare([{**row, "group": "all"} for row in (*rows, jump)])
    assert compared["bond_A"] == {"of_best_control": pytest.approx(0.25), "which": "verlet"}


def test_what_was_trained_on_is_left_out(data: dict[str, Path], tmp_path: Path) -> None:
    settings = DatasetSettings(
        k=[2], split="trajectory", validation_fraction=0.0, test_fraction=0.4, seed=3
    )
    dataset = make_dataset([data["free"]], tmp_path, settings)
    tested = [shard for shard in dataset.shards if shard.part == "test"]
    assert 0 < len(tested) < 3
    (reference,) = read_references([data["free"]], 300.0, tmp_path, [data["free_prep"]])
    assert reference.trained
    assert len(reference.segments) == 2 * len(tested)


def test_references_that_cannot_be_had(data: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="no NVE trajectory at 500 K"):
        read_references([data["free"]], 500.0, prepared=[data["free_prep"]])
    with pytest.raises(ValueError, match="give the folder of its force field"):
        read_references([data["free"]], 300.0)


def test_the_suite(data: dict[str, Path], tmp_path: Path) -> None:
    options = JumpOptions(
        tmp_path, (data["rigid"],), (data["rigid_prep"],), windows=10, strides=(1, 2)
    )
    result = one_jump_mm(options)
    assert [(row["k"], row["method"]) for row in result["rows"]] == [
        (k, method) for k in (1, 2) for method in ("ballistic", "verlet", "mean")
    ]
    assert result["references"]["methanol"]["bonds_of_fixed_length"] > 0
    assert result["timestep_fs"] == 2.0
    with pytest.raises(ValueError, match="no NVE trajectory at 300 K"):
        one_jump_mm(JumpOptions(tmp_path))
