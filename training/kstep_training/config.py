"""The schema of a recipe, and how a recipe file plus ``key=value`` overrides becomes one.

Everything a recipe may say is a field of a dataclass here, with its unit; a key that is not is an
error that names the nearest one that is.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kstep_training.options import read_options

__all__ = ["DataConfig", "FitConfig", "NetworkConfig", "Recipe", "load_recipe"]


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
    return read_options(Recipe, path, overrides)
