"""The runner: small sizes of suites, results kept and compared, parts that are finished."""

import json

import pytest

from benchmarks import evaluation, results, run
from benchmarks.results import kept
from benchmarks.suite import SUITES, add_options, options_from

SMALL = (
    *("kernel", "mollified_cost", "mollified_nve", "mollified_nvt", "nve", "nvt"),
    *("pyscf_memory", "scf_cycles", "wall_clock"),
)


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_size_of_a_suite(name, tmp_path, capsys):
    given = ["--suite", name, "--smoke", "--cache", str(tmp_path), "--output", str(tmp_path)]
    assert run.main(given) == 0
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert result["what"] == SUITES[name].measures
    assert result["rows"]
    # tables and comparisons find in a new result what they find in the committed one
    assert set(result["rows"][0]) <= {key for row in results.load(name)["rows"] for key in row}
    assert str(tmp_path / f"{name}.json") in capsys.readouterr().out


def test_a_new_result_is_set_beside_the_committed_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    given = ["--suite", "nvt", "--runs", "berendsen-impulse", "--replicas", "20",
             "--cache", str(tmp_path)]  # fmt: skip
    assert run.main(given) == 0
    committed = (tmp_path / "results" / "nvt.json").read_text()
    capsys.readouterr()
    assert run.main([*given, "--compare"]) == 0
    assert "None moved" in capsys.readouterr().out
    assert (tmp_path / "results" / "nvt.json").read_text() == committed


def test_files_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "a.json").write_text('{"drift": 1.0}')
    (tmp_path / "new" / "a.json").write_text('{"drift": 2.0}')
    assert run.main(["--compare", str(tmp_path / "new" / "a.json")]) == 0
    assert "| drift | 1 | 2 | +100% |" in capsys.readouterr().out
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a list, expected a result"):
        run.main(["--compare", str(tmp_path / "list.json"), str(tmp_path / "a.json")])


def test_what_makes_no_sense_is_refused(capsys):
    for given, message in (
        (["--suite", "residuals", "--smoke"], "residuals has no small size"),
        (["--list", "--check"], "--check belongs to --fill"),
        (["--suite", "nothing"], "invalid choice: 'nothing'"),
        (["--compare", "a", "b", "c"], "one or two files, got 3"),
    ):
        with pytest.raises(SystemExit):
            run.main(given)
        assert message in capsys.readouterr().err


def test_finished_parts_are_not_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"value": len(made)}

    path = tmp_path / "folder" / "part.json"
    assert [kept(path, make), kept(path, make)] == [{"value": 1}] * 2
    path.unlink()
    assert kept(path, make) == {"value": 2}


def test_options_from_flags():
    import argparse

    options = SUITES["nve"].options
    parser = argparse.ArgumentParser()
    add_options(parser, options)
    given = parser.parse_args(["--methods", "plain", "verlet-2", "--length-ps", "2"])
    chosen = options_from(given, options)
    assert (chosen.methods, chosen.molecules) == (("plain", "verlet-2"), ())
    assert chosen.length_ps == 2.0


def test_evaluations_of_molecules_that_a_suite_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="quick has no benzene; its molecules are water"):
        run.main(["--suite", "evaluate_quick", "--molecules", "benzene", "--cache", str(tmp_path)])


def test_what_a_recipe_took(tmp_path):
    folder = tmp_path / "small"
    for name, content in (
        ("recipe.json", {"recipe": {"name": "tiny"}, "seconds": {"prep": 1.23, "fit": 4.0}}),
        ("fit/tiny.json", {"frames": 3, "epochs": 2, "validation": {"val_force_rms": 4.0},
                           "throughput": {"frames_per_second": 5.0}}),
        ("run/summary.json", {"molecule": "water", "evaluations": 7, "more": 1}),
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    given = ["--suite", "recipes", "--folders", str(folder), "--output", str(tmp_path)]
    assert run.main(given) == 0
    (row,) = json.loads((tmp_path / "recipes.json").read_text())["rows"]
    assert (row["recipe"], row["frames"], row["epochs"]) == ("small", 3, 2)
    assert row["seconds"] == {"prep": 1.2, "fit": 4.0}
    assert row["run"] == {"molecule": "water", "evaluations": 7}


def test_a_network_cannot_be_tuned_on_a_handful_of_frames(tmp_path):
    with pytest.raises(ValueError, match="frames is 16; expected at least 40"):
        run.main(["--suite", "dft_tune", "--frames", "16", "--cache", str(tmp_path)])


@pytest.mark.parametrize("name", [n for n, s in SUITES.items() if s.module == "evaluation"])
def test_settings_and_molecules_of_evaluations(name, tmp_path, monkeypatch):
    plans = []
    report = {"molecules": [], **dict.fromkeys(evaluation.KEPT)}

    def plan(model, targets, settings, output, cache, workers):
        plans.append((targets, settings, output))
        return report

    monkeypatch.setattr(evaluation, "evaluate", plan)
    suite = SUITES[name]
    result = suite.run(suite.options(tmp_path))
    ((targets, settings, output),) = plans
    assert result["planned"] == len(targets) == len({target.name for target in targets})
    assert output == tmp_path / result["suite"]
    # another length leaves out what the suite leaves out
    suite.run(suite.options(tmp_path, length_ps=1.5))
    lengths = [(s.length_ps, s.ensemble_length_ps) for s in (settings, plans[1][1])]
    assert lengths[1] == tuple(1.5 if length else 0.0 for length in lengths[0])
