"""The schema of a recipe: the settings of all stages, and how a recipe file becomes one.

Everything a recipe may say is a field of the settings of its stage, with its unit; a key that is
not is an error that names the nearest one that is.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kstep_training.dataset.make_dataset import DatasetSettings
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.keys import setting
from kstep_training.options import read_mapping, read_options
from kstep_training.prep.prepare import PrepSettings
from kstep_training.run.settings import RunSettings
from kstep_training.simulate.settings import SimulateSettings

__all__ = ["Recipe", "load_recipe", "observable_of", "recipe_path"]


@dataclass(frozen=True)
class Recipe:
    """Settings of all stages, from a molecule list to a model and a run with it.

    Raises
    ------
    ValueError
        If sections do not go together.
    """

    name: str = setting("model", "name of the model file")
    description: str = setting("", "one line on the model")
    molecules: str = setting("qm_train", "a bundled molecule list, or a .smi file")
    pretrain: str | None = setting(None, "another recipe, whose model the fit starts from")
    molecule: str | None = setting(
        None,
        "molecule of the run: one of the list, or anything that kstep run takes; null: one that "
        "the fit has not seen",
    )
    prep: PrepSettings = field(default_factory=PrepSettings)
    simulate: SimulateSettings = field(default_factory=SimulateSettings)
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        FitStage(self.name, self.network, self.fit)  # checks one against the other
        if None not in (self.pretrain, self.fit.init_from):
            raise ValueError(
                f"pretrain is {self.pretrain!r} and fit.init_from {self.fit.init_from!r}, but a "
                "fit starts from one model; leave one of them out"
            )


def load_recipe(name_or_file: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``key=value`` overrides such as ``fit.epochs=5``.

    Parameters
    ----------
    name_or_file : str or Path
        A bundled recipe (``"qm-gfn2"``) or the path of a YAML file.
    overrides : sequence of str

    Raises
    ------
    FileNotFoundError
        If there is no such recipe.
    ValueError
        If a key is unknown (the message names the nearest), a value has the wrong type, or the
        file is no YAML mapping.
    """
    return read_options(Recipe, recipe_path(name_or_file), overrides)


def recipe_path(name_or_file: str | Path) -> Path:
    """File of a recipe.

    Parameters
    ----------
    name_or_file : str or Path
        A bundled recipe (``"qm-gfn2"``) or the path of a YAML file.

    Raises
    ------
    FileNotFoundError
        If there is no such recipe.

    Examples
    --------
    >>> recipe_path("qm-gfn2").name
    'qm-gfn2.yaml'
    """
    path = Path(name_or_file)
    if not path.is_file():
        folder = Path(str(importlib.resources.files("kstep_training") / "recipes"))
        path = folder / f"{name_or_file}.yaml"
        if not path.is_file():
            bundled = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise FileNotFoundError(f"no recipe {str(name_or_file)!r}; bundled recipes: {bundled}")
    return path


def observable_of(path: Path) -> str | None:
    """The kind of labels that a recipe makes of an observable, None for a recipe of a model.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        If the kind is unknown.

    Examples
    --------
    >>> observable_of(recipe_path("couplings")), observable_of(recipe_path("qm-gfn2"))
    ('couplings', None)
    """
    given = read_mapping(path)
    if "observable" not in given:
        return None
    return str(given["observable"])
