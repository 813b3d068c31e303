"""Arguments, exit statuses and messages; what the commands do is tested where it is done."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kstep_integrators
from kstep_integrators import DynamicsFailed
from kstep_integrators.cli import main


@dataclasses.dataclass(frozen=True)
class Settings:
    """The fields the command line fills in."""

    molecule: str
    model: str
    k: int
    timestep_fs: float
    time_fs: float
    temperature_K: float
    seed: int
    output: Path
    backend: str
    engine: str
    learn: bool


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Settings], Any]], None]:
    """Put a function in the place of ``run_demo``."""

    def install(run: Callable[[Settings], Any]) -> None:
        module = ModuleType("kstep_training.demo")
        module.__dict__.update(DemoSettings=Settings, OUTSIDE="outside", run_demo=run)
        monkeypatch.setitem(sys.modules, "kstep_training.demo", module)

    return install


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Calls of ``run_recipe``."""
    calls: list[tuple[Any, ...]] = []
    module = ModuleType("kstep_training.recipe")
    module.__dict__["run_recipe"] = lambda *arguments: calls.append(arguments)
    monkeypatch.setitem(sys.modules, "kstep_training.recipe", module)
    return calls


def test_doctor_prints_and_returns_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "torch" in out
    assert "Devices" in out


def test_demo_defaults(demo: Any) -> None:
    seen: list[Settings] = []
    demo(seen.append)
    assert main(["demo"]) == 0
    assert seen == [
        Settings(
            molecule="ethanol",
            model="organic-gfn2",
            k=4,
            timestep_fs=0.5,
            time_fs=2000.0,
            temperature_K=300.0,
            seed=0,
            output=Path("kstep_demo"),
            backend="auto",
            engine="ase",
            learn=False,
        )
    ]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--name", "water"], {"molecule": "water"}),
        (["--xyz", "a b.xyz"], {"molecule": "a b.xyz"}),
        (["--smiles", "CCO"], {"molecule": "CCO"}),
        (["-k", "8", "--timestep", "0.25"], {"k": 8, "timestep_fs": 0.25}),
        (["--time", "1e3", "--temperature", "500"], {"time_fs": 1000.0, "temperature_K": 500.0}),
        (["--seed", "7", "--output", "here"], {"seed": 7, "output": Path("here")}),
        (["--model", "my.safetensors", "--backend", "eager"], {"backend": "eager"}),
        (["--engine", "openmm"], {"engine": "openmm"}),
        (["--learn"], {"learn": True, "molecule": "outside", "k": 8, "time_fs": 400.0}),
        (
            ["--learn", "-k", "4", "--time", "90", "--name", "water"],
            {"learn": True, "molecule": "water", "k": 4, "time_fs": 90.0},
        ),
    ],
)
def test_demo_arguments(demo: Any, words: list[str], changes: dict[str, Any]) -> None:
    seen: list[Settings] = []
    demo(seen.append)
    assert main(["demo", *words]) == 0
    assert {name: getattr(seen[0], name) for name in changes} == changes


def test_the_demonstration_itself_has_the_fields_that_are_filled_in() -> None:
    from kstep_training.demo import DemoSettings

    names = {field.name for field in dataclasses.fields(DemoSettings)}
    assert names == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "-k", "0"], "'0' is not a whole number of at least 1"),
        (["demo", "-k", "2.5"], "'2.5' is not a whole number"),
        (["demo", "--timestep", "nan"], "'nan' is not a positive finite number"),
        (["demo", "--time", "-5"], "'-5' is not a positive finite number"),
        (["demo", "--temperature", "warm"], "'warm' is not a positive finite number"),
        (["demo", "--name", "ethanol", "--xyz", "f"], "not allowed with"),
        (["demo", "--bogus"], "unrecognized arguments: --bogus"),
        (["recipe", "r", "epochs"], "'epochs' is not of the form key=value"),
        (["recipe", "r", "--workers", "2", "epochs"], "'epochs' is not of the form key=value"),
        (["recipe", "r", "--workers", "0"], "'0' is not a whole number of at least 1"),
        (["prep", "list.smi", "seed"], "'seed' is not of the form key=value"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_arguments_that_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "doctor" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kstep-integrators {kstep_integrators.__version__}\n"


@pytest.mark.parametrize(
    ("words", "overrides", "output", "workers"),
    [
        ([], [], "kstep_qm-gfn2", None),
        (["fit.epochs=1", "name=x=y"], ["fit.epochs=1", "name=x=y"], "kstep_qm-gfn2", None),
        (["a=1", "--workers", "3", "b=2"], ["a=1", "b=2"], "kstep_qm-gfn2", 3),
        (["--output", "out", "a=1"], ["a=1"], "out", None),
    ],
)
def test_recipe_arguments(
    recipes: list[tuple[Any, ...]],
    words: list[str],
    overrides: list[str],
    output: str,
    workers: int | None,
) -> None:
    assert main(["recipe", "qm-gfn2", *words]) == 0
    name, got_overrides, got_output, got_workers, scheduler = recipes[0]
    assert (name, got_overrides, got_output) == ("qm-gfn2", overrides, Path(output))
    assert scheduler is None
    assert got_workers >= 1 if workers is None else got_workers == workers


def test_a_recipe_file_names_its_folder(recipes: list[tuple[Any, ...]]) -> None:
    assert main(["recipe", "somewhere/mine.yaml"]) == 0
    assert recipes[0][2] == Path("kstep_mine")


def test_a_recipe_on_a_cluster(recipes: list[tuple[Any, ...]]) -> None:
    assert main(["recipe", "qm-gfn2", "--scheduler", "tcp://here:8786"]) == 0
    assert recipes[0][4] == "tcp://here:8786"
    with pytest.raises(SystemExit):
        main(["recipe", "qm-gfn2", "--scheduler", "tcp://here:8786", "--workers", "2"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data"], (Path("data"), [], Path("data_fit"))),
        (["a/data", "name=x", "--output", "o", "fit.epochs=2"],
         (Path("a/data"), ["name=x", "fit.epochs=2"], Path("o"))),
    ],
)  # fmt: skip
def test_fit_arguments(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: tuple[Any, ...]
) -> None:
    calls: list[tuple[Any, ...]] = []
    module = ModuleType("kstep_training.fit.fit")
    module.__dict__["run_fit"] = lambda *arguments: calls.append(arguments)
    monkeypatch.setitem(sys.modules, "kstep_training.fit.fit", module)
    assert main(["fit", *words]) == 0
    assert calls == [expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mine.smi"], ("mine.smi", [], Path("kstep_mine"))),
        (["a/b.smi", "seed=1", "--output", "o", "x=2"], ("a/b.smi", ["seed=1", "x=2"], Path("o"))),
    ],
)
def test_prep_arguments(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: tuple[Any, ...]
) -> None:
    calls: list[tuple[Any, ...]] = []
    module = ModuleType("kstep_training.prep.prepare")
    module.__dict__["run_prep"] = lambda *arguments: calls.append(arguments)
    monkeypatch.setitem(sys.modules, "kstep_training.prep.prepare", module)
    assert main(["prep", *words]) == 0
    assert calls == [expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["in/mm"], (["in/mm"], [], "mm_dataset", False)),
        (["a", "every=2", "b", "--output", "o"], (["a", "b"], ["every=2"], "o", False)),
        (["a", "--verify", "every=2"], (["a"], ["every=2"], "a_dataset", True)),
        (["a", "x=y", "every=2"], (["a", "x=y"], ["every=2"], "a_dataset", False)),
        (["--verify", "--output", "o"], ([], [], "o", True)),
    ],
)
def test_dataset_arguments(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    expected: tuple[list[str], list[str], str, bool],
) -> None:
    calls: list[tuple[Any, ...]] = []
    module = ModuleType("kstep_training.dataset.make_dataset")
    module.__dict__["run_dataset"] = lambda *arguments: calls.append(arguments)
    monkeypatch.setitem(sys.modules, "kstep_training.dataset.make_dataset", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=y").mkdir()  # a folder, although it looks like a setting
    assert main(["dataset", *words]) == 0
    folders, overrides, output, check = expected
    assert calls == [([Path(folder) for folder in folders], overrides, Path(output), check)]


@pytest.mark.parametrize(
    "words",
    [[], ["every=2"], ["--output", "o"], ["--verify"], ["--verify", "--output", "o", "every=2"]],
)
def test_a_dataset_of_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", *words]) == 2
    assert "no trajectories are given" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ValueError("there is no molecule 'x';\n  there are: ethanol"),
        FileNotFoundError("there is no file mine.xyz"),
        ImportError("GFN2-xTB forces need tblite"),
        PermissionError("cannot write kstep_demo"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(
    demo: Any, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def run(settings: Settings) -> None:
        raise error

    demo(run)
    assert main(["demo"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"kstep: error: {' '.join(str(error).split())}\n"
    assert captured.out == ""
    with pytest.raises(type(error)):
        main(["--debug", "demo"])


def test_dynamics_that_failed_are_told_apart(demo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(settings: Settings) -> None:
        raise DynamicsFailed("step 12 failed")

    demo(run)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "kstep: error: step 12 failed\n"


def test_a_missing_package_names_the_extra(demo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(settings: Settings) -> None:
        raise ModuleNotFoundError("No module named 'omegaconf.errors'", name="omegaconf.errors")

    demo(run)
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert "omegaconf is not installed" in error
    assert "pip install 'kstep-integrators[train]'" in error


def test_other_errors_keep_their_traceback(demo: Any) -> None:
    def run(settings: Settings) -> None:
        raise ZeroDivisionError

    demo(run)
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


def test_interruption(
    demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: Any) -> None:
        raise KeyboardInterrupt

    demo(run)
    assert main(["demo"]) == 130
    assert "from the beginning" in capsys.readouterr().err

    module = ModuleType("kstep_training.recipe")
    module.__dict__["run_recipe"] = run
    monkeypatch.setitem(sys.modules, "kstep_training.recipe", module)
    assert main(["recipe", "qm-gfn2"]) == 130
    assert "run the same command again to resume" in capsys.readouterr().err
