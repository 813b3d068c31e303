"""Recipes: what is read, what is overridden, and what is refused with a useful message."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kstep_training.config import Recipe, load_recipe


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_bundled_recipe() -> None:
    recipe = load_recipe("qm-gfn2")
    assert recipe.name == "organic-gfn2"
    assert recipe.data.molecules == "qm_train"
    assert recipe.data.method == "GFN2-xTB"
    assert recipe.network.backbone == "painn"
    assert recipe.data.seed != recipe.data.validation_seed


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "name: mine\nfit:\n  epochs: 7\n")
    expected = Recipe(name="mine")
    expected.fit.epochs = 7
    assert load_recipe(path) == expected
    assert load_recipe(str(path)) == expected


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(recipe_file(tmp_path, "# nothing\n")) == Recipe()


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "fit:\n  epochs: 7\n  learning_rate: 0.1\n")
    recipe = load_recipe(
        path,
        [
            "fit.epochs=9",
            "fit.compile=false",
            "fit.padding=[3,5]",
            "data.molecules=some/file=odd.smi",
            "network.cutoff=4",
        ],
    )
    assert recipe.fit.epochs == 9
    assert recipe.fit.learning_rate == 0.1
    assert recipe.fit.compile is False
    assert recipe.fit.padding == [3, 5]
    assert recipe.data.molecules == "some/file=odd.smi"
    assert recipe.network.cutoff == 4.0
    assert isinstance(recipe.network.cutoff, float)


def test_unknown_recipe() -> None:
    with pytest.raises(FileNotFoundError, match=r"no recipe 'qm-gfn3'; bundled recipes: .*qm-gfn2"):
        load_recipe("qm-gfn3")


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("fit.epoch", "fit.epochs"),
        ("fit.learning_rates", "fit.learning_rate"),
        ("network.chanels", "network.channels"),
        ("data.temperature", "data.temperatures"),
        ("nmae", "name"),
    ],
)
def test_mistyped_key(mistyped: str, meant: str, tmp_path: Path) -> None:
    message = f"unknown key '{mistyped}'; did you mean '{meant}'"
    with pytest.raises(ValueError, match=message):
        load_recipe("qm-gfn2", [f"{mistyped}=1"])
    *sections, key = mistyped.split(".")
    text = f"{key}: 1\n" if not sections else f"{sections[0]}:\n  {key}: 1\n"
    with pytest.raises(ValueError, match=message):
        load_recipe(recipe_file(tmp_path, text))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("fit.epochs=many", "fit.epochs"),
        ("fit.epochs=2.5", "fit.epochs"),
        ("fit.compile=perhaps", "fit.compile"),
        ("data.temperatures=[300,hot]", "data.temperatures"),
        ("fit.padding=[3,", "qm-gfn2"),
    ],
)
def test_wrong_type(override: str, key: str) -> None:
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        load_recipe("qm-gfn2", [override])


@pytest.mark.parametrize("text", ["fit: 3\n", "- a\n- b\n", "fit: [\n", "3\n"])
def test_a_file_that_is_no_recipe(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        load_recipe(recipe_file(tmp_path, text))


def test_override_without_value() -> None:
    with pytest.raises(ValueError, match=r"'fit\.epochs' is not of the form key=value"):
        load_recipe("qm-gfn2", ["fit.epochs"])


def test_loads_are_independent() -> None:
    load_recipe("qm-gfn2").fit.padding.append(99)
    assert dataclasses.asdict(load_recipe("qm-gfn2"))["fit"]["padding"] == Recipe().fit.padding
