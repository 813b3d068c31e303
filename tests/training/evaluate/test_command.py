"""``kstep evaluate`` from the first word to the report, with quick physics."""

import json
import time

import psutil
import pytest
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.io import write

from kstep_integrators.cli import main
from tests.training.interrupts import interrupt, interruptible

ARGUMENTS = [
    "tests.training.evaluate_physics:cheap", "water,methane",
    "physics=tests.training.evaluate_physics:physics", "respa=none", "seeds=2", "length_ps=0.032",
    "ensemble_length_ps=0.04", "equilibration_ps=0.01", "strides_fs=[2]", "compared_fs=16",
    "correctors=[impulse]", "ensemble_strides_fs=[20]", "spot_checks=1",
]  # fmt: skip


def run(output, *arguments):
    return main(["evaluate", *ARGUMENTS, *arguments, "--output", str(output), "--workers", "1"])


def test_all_of_it_and_again(tmp_path, capsys):
    cache = tmp_path / "cache"
    assert run(tmp_path / "first", "--cache", str(cache)) == 0
    report = json.loads((tmp_path / "first" / "evaluation.json").read_text())
    assert [m["name"] for m in report["molecules"]] == ["water", "methane"]
    assert report["bar"] == "verlet-1"
    assert set(report["molecules"][0]["methods"]) == {
        "reference", "fine", "verlet-1", "verlet-2", "impulse-2", "potential-only", "ballistic",
        "langevin", "metropolis-20", "untested-20",
    }  # fmt: skip
    rows = report["molecules"][0]["methods"]
    assert rows["impulse-2"]["reported"]["evaluations"] == [[17, 17], [17, 17]]
    assert rows["reference"]["cost"]["evaluations"] == pytest.approx(65 / 0.032, rel=1e-6)
    # Two runs are no ground for a verdict on distributions.
    assert report["totals"]["references"]["open"] > 0
    assert "water" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*.npz")}
    assert run(tmp_path / "second", "--cache", str(cache)) == 0
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.npz")} == before
    again = json.loads((tmp_path / "second" / "evaluation.json").read_text())
    assert again == report


def test_a_molecule_that_cannot_be_run_is_named(tmp_path, capsys):
    # The springs know no benzene.
    arguments = [ARGUMENTS[0], "water,benzene", *ARGUMENTS[2:]]
    status = main(["evaluate", *arguments, "--output", str(tmp_path), "--workers", "1"])
    assert status == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert [m["name"] for m in report["molecules"]] == ["water"]
    assert "StopIteration" in report["not_evaluated"]["benzene"]["start"]
    assert "not evaluated" in capsys.readouterr().out


def records(cache):
    return {path: path.stat().st_mtime_ns for path in cache.glob("*.npz")}


@pytest.mark.slow
def test_ctrl_c_while_runs_go_on(tmp_path):
    cache = tmp_path / "cache"
    arguments = ["evaluate", *ARGUMENTS, "length_ps=0.16", "--cache", str(cache)]
    arguments += ["--output", str(tmp_path / "out")]
    with interruptible(*arguments, "--workers", "2") as process:
        # The four starts and some runs.
        while process.poll() is None and len(records(cache)) < 8:
            time.sleep(0.02)
        interrupt(process)
    kept = records(cache)
    assert len(kept) >= 8
    assert not list((tmp_path / "out").glob("*.html"))
    assert main([*arguments, "--workers", "1"]) == 0
    now = records(cache)
    assert len(now) > len(kept)
    assert now.items() >= kept.items()


@pytest.mark.slow
def test_ctrl_c_while_workers_start(tmp_path):
    arguments = ["evaluate", *ARGUMENTS, "--output", str(tmp_path)]
    with interruptible(*arguments, "--workers", "2") as process:
        # multiprocessing's resource tracker, and the first worker, which has hardly begun.
        while process.poll() is None and len(psutil.Process(process.pid).children()) < 2:
            time.sleep(0.01)
        interrupt(process)
    assert not records(tmp_path / "runs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["organic-gfn2"], "1 names were given (organic-gfn2), expected a model and molecules"),
        ([], "0 names were given (none)"),
        (["no-model", "water"], "no model 'no-model'"),
        (["organic-gfn2", "water", "physics=GFN9"], "physics is 'GFN9'"),
        (["organic-gfn2", "water", "sedes=9"], "did you mean 'seeds'"),
    ],
)
def test_refusals(tmp_path, capsys, arguments, message):
    assert main(["evaluate", *arguments, "--output", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_show_is_an_error(tmp_path, capsys):
    arguments = [
        ARGUMENTS[0],
        "water",
        *ARGUMENTS[2:],
        "physics=tests.training.evaluate_physics:refuses",
    ]
    assert main(["evaluate", *arguments, "--output", str(tmp_path), "--workers", "1"]) == 2
    assert "nothing could be evaluated: LookupError" in capsys.readouterr().err


CELL_ARGUMENTS = [
    "physics=tests.training.evaluate_physics:copper", "respa=none", "seeds=2", "length_ps=0.096",
    "ensemble_length_ps=0.12", "equilibration_ps=0.02", "timestep_fs=2", "frame_fs=4", "bar_fs=4",
    "strides_fs=[8]", "compared_fs=32", "correctors=[impulse]", "ensemble_strides_fs=[20]",
    "spot_checks=1", "resolution=500",
]  # fmt: skip


def in_cell(tmp_path, atoms, name):
    write(tmp_path / f"{name}.extxyz", atoms)
    arguments = ["evaluate", "tests.training.evaluate_physics:cheap_copper",
                 str(tmp_path / f"{name}.extxyz"), *CELL_ARGUMENTS, "--workers", "1"]  # fmt: skip
    assert main([*arguments, "--output", str(tmp_path / name)]) == 0
    report = json.loads((tmp_path / name / "evaluation.json").read_text())
    return report["molecules"][0], (tmp_path / name / "evaluation.html").read_text()


def test_a_crystal(tmp_path, capsys):
    molecule, page = in_cell(tmp_path, bulk("Cu", cubic=True, a=3.63) * (2, 1, 1), "copper")
    assert (molecule["pbc"], molecule["fixed"]) == ([True] * 3, 0)
    assert molecule["problems"] == {}
    rows = molecule["methods"]
    jumps = rows["impulse-8"]
    assert set(jumps["radial"]) == {"Cu-Cu"}
    assert set(jumps["displacement"]) == {"Cu"}
    assert jumps["cell"]["coordination"]["Cu around Cu"]["mean"] == pytest.approx(12.0, abs=0.1)
    assert jumps["cell"]["pressure"]["count"] == 2
    assert abs(jumps["pressure_difference"]["mean"]) < 0.2
    assert jumps["spectra"]["relabelled"]["runs"] == [2, 2]
    assert "broken" not in jumps
    assert "displacement" not in rows["metropolis-20"]
    assert set(rows["metropolis-20"]["radial"]) == {"Cu-Cu"}
    # 3N - 3: at no net momentum a start of 300 K.
    assert rows["reference"]["independence"]["p_value"] <= 1.0
    for title in ("Radial distributions", "Mean-square displacement", "In the cell"):
        assert title in page
    assert "Profile of the slab" not in page
    checked = {c["what"] for c in molecule["checks"] if c["method"] == "impulse-8"}
    assert {"g(r) Cu-Cu", "displacement Cu", "spectrum", "pressure"} <= checked
    assert "intact bonds" not in checked


def test_a_slab_with_held_atoms(tmp_path, capsys):
    slab = fcc111("Cu", (2, 2, 2), a=3.63, vacuum=5.0)
    slab.pbc, slab.info = (True, True, False), {}
    slab.set_constraint(FixAtoms(range(4)))
    molecule, page = in_cell(tmp_path, slab, "slab")
    assert (molecule["pbc"], molecule["fixed"]) == ([True, True, False], 4)
    assert molecule["problems"] == {}
    jumps = molecule["methods"]["impulse-8"]
    assert set(jumps["profile"]) == {"mass density"}
    assert "radial" not in jumps
    assert "pressure" not in jumps["cell"]
    assert "periodic in two directions, 4 atoms held" in page
    assert "A slab has no volume" in page
