"""Learning runs as methods of an evaluation: what was learned before, frozen or learning on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from kstep_integrators import units
from kstep_integrators.cli import main
from kstep_training.evaluate import figures
from kstep_training.evaluate.execute import execute, jobs_of, load_records
from kstep_training.evaluate.plan import Method, Run, make_methods, run_key, teaching_key
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.options import override
from tests.training.evaluate.water_runs import CHEAP, SETTINGS, WATER

LEARN = dataclasses.replace(
    SETTINGS, learn=True, learn_labels=12, strides_fs=[4.0], correctors=["impulse"],
    ensemble_length_ps=0.0, respa="none",
)  # fmt: skip
METHODS = {m.name: m for m in make_methods(CHEAP, LEARN) if m.learn or m.name == "impulse-4"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("cache")
    for jobs in jobs_of([WATER], list(METHODS.values()), LEARN, folder):
        assert [problem for _, problem in execute(jobs)] == [""] * len(jobs)
    return folder


def test_the_methods_and_their_control() -> None:
    assert [*METHODS] == ["impulse-4", "learned-4", "learning-4"]
    assert {m.corrector for m in METHODS.values()} == {"impulse"}
    refit = make_methods(CHEAP, dataclasses.replace(LEARN, learn_refit=True))
    assert [m.name for m in refit if m.learn] == ["learned-4", "learning-4", "refitted-4"]
    assert not [m for m in make_methods(CHEAP, SETTINGS) if m.learn]


def test_what_was_learned_is_better_than_the_base(cache: Path) -> None:
    records = load_records(WATER, list(METHODS.values()), LEARN, cache)
    assert [*records] == [*METHODS]
    residual = {
        name: np.mean([r.facts["residual_rms"] for r in runs]) for name, runs in records.items()
    }
    assert residual["learned-4"] < 0.5 * residual["impulse-4"]
    assert residual["learning-4"] < 0.5 * residual["impulse-4"]
    for name, runs in records.items():
        for run in runs:
            assert run.whole
            assert run.time[-1] == pytest.approx(32.0 * units.FS)
            assert run.facts["counted"] == run.facts["evaluations"] == 9
            assert np.abs(run.facts["spot"]["energy"]).max() < 1e-9
            assert bool(run.facts["spot"]["residual"]) == (name != "learning-4")


def test_the_history_is_of_one_run_for_all(cache: Path) -> None:
    records = load_records(WATER, list(METHODS.values()), LEARN, cache)
    told = [records[name][0].facts["learning"] for name in ("learned-4", "learning-4")]
    assert told[0] == told[1]
    (history,) = cache.glob("*.json")
    assert json.loads(history.read_text()) == told[0]
    assert sum(block["count"] for block in told[0]["blocks"]) == told[0]["evaluations"] == 12
    assert told[0]["stride_fs"][0] == pytest.approx(1.0)
    np.testing.assert_allclose(np.cumsum(told[0]["stride_fs"]), told[0]["time_fs"])


def test_the_figure(cache: Path) -> None:
    methods = list(METHODS.values())
    records = load_records(WATER, methods, LEARN, cache)
    drawn = figures.learning(records, methods)
    assert drawn is not None
    assert "4 fs, learned" in drawn
    assert "labels" in drawn
    assert figures.learning({"impulse-4": records["impulse-4"]}, methods) is None


def test_keys_are_those_of_what_was_learned() -> None:
    def keys(settings: EvaluateSettings) -> dict[str, str]:
        methods = make_methods("organic-gfn2", settings)
        return {m.name: run_key(Run(WATER, m, 0), settings) for m in methods}

    def taught(settings: EvaluateSettings, name: str = "learned-4") -> str:
        method: Method = next(m for m in make_methods(CHEAP, settings) if m.name == name)
        return teaching_key(WATER, method, settings)

    more = dataclasses.replace(LEARN, learn_labels=13)
    before, after = keys(LEARN), keys(more)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"learned-4", "learning-4"}
    assert taught(LEARN) == taught(LEARN, "learning-4") != taught(more)
    # Those of runs that do not learn are what they were without the setting.
    plain = keys(dataclasses.replace(LEARN, learn=False, learn_labels=100))
    assert {name: before[name] for name in plain} == plain


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learn=true", "learn_labels=0"], "learn_labels is 0"),
        (["learn_labels=50"], "learn_labels is 50, .* they belong to learn=true"),
        (["learn_refit=true"], "learn_refit True"),
    ],
)
def test_wrong_settings(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(EvaluateSettings, words)


def test_learning_belongs_to_constant_energy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", CHEAP, "water", "learn=true", "length_ps=0"]
    assert main([*words, "--output", str(tmp_path)]) == 2
    assert "learn is true and length_ps is 0" in capsys.readouterr().err
