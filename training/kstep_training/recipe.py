"""Run a whole recipe: molecules, data, fit, model file. Every stage resumes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from tqdm import tqdm

from kstep_training.config import DataConfig, load_recipe
from kstep_training.fit import fit
from kstep_training.prep import Molecule, bundled_list, read_smiles
from kstep_training.sample import SimulateSettings, simulate

__all__ = ["run_recipe", "simulate_settings"]


def simulate_settings(data: DataConfig, validation: bool = False) -> SimulateSettings:
    """The sampling that a recipe asks for, of its training or of its validation set."""
    shared: dict[str, Any] = {
        field.name: getattr(data, field.name)
        for field in dataclasses.fields(SimulateSettings)
        if hasattr(data, field.name)
    }
    shared["temperatures"] = tuple(data.temperatures)
    shared["distortions"] = tuple(data.distortions)
    settings = SimulateSettings(**shared)
    if not validation:
        return settings
    return dataclasses.replace(
        settings,
        frames_per_atom=data.validation_frames_per_atom,
        min_frames=1,
        seed=data.validation_seed,
    )


def _molecules(source: str, console: Console) -> list[Molecule]:
    path = Path(source)
    molecules, problems = read_smiles(path if path.is_file() else bundled_list(source))
    for problem in problems:
        console.print(f"[yellow]skipped[/] {escape(problem)}", highlight=False)
    if not molecules:
        raise ValueError(f"{source} holds no usable molecule; give one 'SMILES name' per line")
    # The largest first, so that no worker is left alone with one at the end.
    return sorted(molecules, key=lambda molecule: -len(molecule.smiles))


def run_recipe(
    name_or_file: str | Path, overrides: Sequence[str], output: Path, workers: int
) -> Path:
    """Make the data of a recipe and fit its model.

    Parameters
    ----------
    name_or_file : str or Path
        A bundled recipe or a YAML file.
    overrides : sequence of str
        ``key=value``.
    output : Path
        Folder for data, checkpoints and the model file. Run again with the same folder, finished
        shards are kept and the fit goes on from its last checkpoint.
    workers : int
        Processes that make data.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ValueError, FileNotFoundError
        For a recipe or a molecule list that cannot be used.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    console = Console()
    recipe = load_recipe(name_or_file, overrides)
    molecules = _molecules(recipe.data.molecules, console)
    for part, validation in (("train", False), ("validation", True)):
        settings = simulate_settings(recipe.data, validation)
        reports = simulate(molecules, output / part, settings, workers)
        bar = tqdm(reports, total=len(molecules), desc=f"{part} data", file=sys.stdout)
        failed = {name: report for name, report in bar if report["status"] != "done"}
        for name, report in failed.items():
            console.print(f"[yellow]failed[/] {name}: {escape(report['reason'])}", highlight=False)
    path = fit(recipe, output / "train", output / "validation", output / "fit")
    console.print(f"Model file: {path}", highlight=False)
    return path
