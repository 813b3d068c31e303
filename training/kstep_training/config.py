"""The schema of a recipe, and how a recipe file plus ``key=value`` overrides becomes one.

Everything a recipe may say is a field of a dataclass here, with its unit; a key that is not is an
error that names the nearest one that is.
"""

from __future__ import annotations

import difflib
import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

__all__ = ["DataConfig", "FitConfig", "NetworkConfig", "Recipe", "load_recipe", "override"]

T = TypeVar("T")


@dataclass
class DataConfig:
    """Molecules and sampling; see :class:`kstep_training.simulate.SimulateSettings`."""

    molecules: str = "qm_train"
    """A bundled molecule list, or the path of a ``.smi`` file."""
    method: str = "GFN2-xTB"
    temperatures: list[float] = field(default_factory=lambda: [300.0, 500.0, 800.0])
    frames_per_atom: int = 36
    min_frames: int = 120
    max_frames: int = 540
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.02
    equilibration_steps: int = 200
    interval_steps: int = 12
    conformers: int = 6
    distorted_fraction: float = 0.25
    distortions: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.15])
    seed: int = 0
    validation_seed: int = 1
    """Seed of the separate trajectories that the fit is validated on."""
    validation_frames_per_atom: int = 3


@dataclass
class NetworkConfig:
    """Arguments of :class:`kstep_integrators.nn.energy_network.EnergyNetwork`."""

    backbone: str = "painn"
    channels: int = 64
    layers: int = 2
    radial: int = 16
    cutoff: float = 5.0
    scale: float = 1.0


@dataclass
class FitConfig:
    """Optimization. The learning rate warms up linearly and falls as a cosine over ``epochs``."""

    start_from: str | None = None
    """A bundled model or a model file to tune; its network replaces the recipe's."""
    batch_size: int = 32
    epochs: int = 60
    learning_rate: float = 2.0e-3
    final_learning_rate: float = 1.0e-5
    warmup_steps: int = 500
    weight_decay: float = 0.0
    gradient_clip: float = 10.0
    ema_decay: float = 0.999
    energy_weight: float = 0.1
    """Weight of the squared energy error per atom, against a force weight of 1."""
    huber_delta: float = 0.3
    """Force errors beyond this (eV/angstrom) count linearly."""
    padding: list[int] = field(default_factory=lambda: [6, 9, 12, 15, 18])
    """Molecules are padded to the next of these atom counts, so that few shapes are compiled."""
    compile: bool = True
    seed: int = 0


@dataclass
class Recipe:
    """From molecule list to model file."""

    name: str = "model"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    fit: FitConfig = field(default_factory=FitConfig)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        if isinstance(config[key], DictConfig):
            yield from _keys(config[key], f"{prefix}{key}.")


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
    path = Path(name_or_file)
    if not path.is_file():
        folder = Path(str(importlib.resources.files("kstep_training") / "recipes"))
        path = folder / f"{name_or_file}.yaml"
        if not path.is_file():
            bundled = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise FileNotFoundError(f"no recipe {str(name_or_file)!r}; bundled recipes: {bundled}")
    try:
        given = OmegaConf.load(path)
    except (YAMLError, OSError) as error:  # OSError also for a file that is one number
        raise ValueError(f"{path} is not a recipe: {error}") from error
    if not isinstance(given, DictConfig):
        raise ValueError(f"{path} is not a recipe: it is a list, not keys with values")
    return _merged(Recipe, given, overrides, f"{path}: ")


def override(settings: type[T], overrides: Sequence[str]) -> T:
    """The defaults of a dataclass of settings, changed by ``key=value`` words.

    Parameters
    ----------
    settings : type
        A dataclass whose fields all have defaults.
    overrides : sequence of str

    Raises
    ------
    ValueError
        If a key is unknown (the message names the nearest) or a value has the wrong type.
    """
    return _merged(settings, OmegaConf.create(), overrides, "")


def _merged(kind: type[T], given: DictConfig, overrides: Sequence[str], where: str) -> T:
    schema = OmegaConf.structured(kind)
    OmegaConf.set_readonly(schema, False)  # it is, if the dataclass is frozen
    known = list(_keys(schema))
    for key in (*_keys(given), *(word.split("=", 1)[0] for word in overrides)):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"{where}unknown key {key!r}; did you mean {near!r}?")
    for word in overrides:
        if "=" not in word:
            raise ValueError(f"override {word!r} is not of the form key=value")
    try:
        merged = OmegaConf.merge(schema, given, OmegaConf.from_dotlist(list(overrides)))
        return cast(T, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{where}{error}") from error
