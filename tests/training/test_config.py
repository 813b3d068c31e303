"""Recipes: what is read, what is overridden, and what is refused with a useful message."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path

import pytest

from kstep_training.config import Recipe, load_recipe, observable_of, recipe_path
from kstep_training.fit.settings import FitSettings
from kstep_training.prep.molecules import bundled_list, read_smiles

ALL = sorted(
    Path(entry.name).stem
    for entry in (importlib.resources.files("kstep_training") / "recipes").iterdir()
)
BUNDLED = [name for name in ALL if observable_of(recipe_path(name)) is None]


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_there_are_recipes() -> None:
    assert {
        "mm-mmff94",
        "mmff94-flow",
        "pyscf-small",
        "qm-gfn2",
        "qm-gfn2-direct",
        "qm-transfer",
    } == set(BUNDLED)
    assert {"couplings", "xanes"} == set(ALL) - set(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipes_fit_together(name: str) -> None:
    """Each section with the others, as far as that can be seen without running them."""
    recipe = load_recipe(name)
    molecules, problems = read_smiles(bundled_list(recipe.molecules))
    names = {molecule.name for molecule in molecules}
    assert not problems
    assert set(recipe.dataset.validation) | set(recipe.dataset.test) <= names
    assert recipe.molecule is None or recipe.molecule in names
    assert recipe.description
    assert recipe.run.physics == recipe.simulate.physics
    if recipe.simulate.physics == "mm":
        assert recipe.prep.forcefield is not None
    if recipe.network.kind == "direct":
        strides = recipe.network.k or recipe.dataset.k
        assert recipe.simulate.production == "nve"
        assert set(strides) <= set(recipe.dataset.k)
        assert recipe.run.k in strides
    if recipe.pretrain is not None:
        before = load_recipe(recipe.pretrain)
        assert before.network.kind == recipe.network.kind
        assert before.pretrain is None


def test_the_sampling_of_the_bundled_model() -> None:
    recipe = load_recipe("qm-gfn2")
    assert recipe.name == "organic-gfn2"
    assert recipe.simulate.physics == "GFN2-xTB"
    assert (recipe.simulate.temperatures, recipe.simulate.trajectories) == ([300, 500, 800], 6)
    assert (recipe.network.backbone, recipe.network.layers, recipe.fit.epochs) == ("painn", 3, 28)


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "name: mine\nfit:\n  epochs: 7\n")
    expected = Recipe(name="mine", fit=FitSettings(epochs=7))
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
            "molecules=some/file=odd.smi",
            "network.cutoff=4",
            "simulate.temperatures=[250]",
            "run.k=4",
        ],
    )
    assert recipe.fit.epochs == 9
    assert recipe.fit.learning_rate == 0.1
    assert recipe.fit.compile is False
    assert recipe.fit.padding == [3, 5]
    assert recipe.molecules == "some/file=odd.smi"
    assert recipe.network.cutoff == 4.0
    assert isinstance(recipe.network.cutoff, float)
    assert recipe.simulate.temperatures == [250.0]
    assert recipe.run.k == 4


def test_unknown_recipe() -> None:
    with pytest.raises(FileNotFoundError, match=r"no recipe 'qm-gfn3'; bundled recipes: .*qm-gfn2"):
        load_recipe("qm-gfn3")


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("fit.epoch", "fit.epochs"),
        ("fit.learning_rates", "fit.learning_rate"),
        ("network.chanels", "network.channels"),
        ("simulate.temperature", "simulate.temperatures"),
        ("dataset.strides", "dataset.k"),
        ("prep.conformer", "prep.conformers"),
        ("run.thermostats", "run.thermostat"),
        ("nmae", "name"),
        ("simulate.method", "simulate.physics"),  # former names
        ("run.calculator", "run.physics"),
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
        ("simulate.temperatures=[300,hot]", "simulate.temperatures"),
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


def test_sections_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="a fit starts from one model; leave one of them out"):
        load_recipe("qm-transfer", ["fit.init_from=organic-gfn2"])
    with pytest.raises(ValueError, match="'bf16-mixed', but the forces of a flow"):
        load_recipe("qm-gfn2", ["fit.precision=bf16-mixed"])


def test_loads_are_independent() -> None:
    load_recipe("qm-gfn2").simulate.temperatures.append(99.0)
    assert dataclasses.asdict(load_recipe("qm-gfn2"))["simulate"]["temperatures"] == [300, 500, 800]
