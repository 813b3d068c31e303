"""Run a whole recipe: each stage as its own command would, in a folder of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from kstep_training.config import Recipe, load_recipe, observable_of, recipe_path
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.make_dataset import run_dataset
from kstep_training.fit.fit import fit, report_fit
from kstep_training.fit.settings import FitStage
from kstep_training.observable_recipe import run_observable_recipe
from kstep_training.options import as_overrides
from kstep_training.prep.prepare import run_prep
from kstep_training.recipe_record import StageRecord
from kstep_training.run.run import run_dynamics
from kstep_training.simulate.simulate import run_simulate

__all__ = ["run_recipe"]


@dataclass(frozen=True)
class _Workers:
    count: int
    scheduler: str | None


def run_recipe(
    name_or_file: str | Path,
    overrides: Sequence[str],
    output: Path,
    workers: int,
    scheduler: str | None = None,
) -> Path:
    """Make the data of a recipe, fit its model, and run with it; or fit an observable, and observe.

    Parameters
    ----------
    name_or_file : str or Path
        A bundled recipe or a YAML file.
    overrides : sequence of str
        ``key=value``; those that begin with ``pretrain.`` are for the recipe of that name.
    output : Path
        Gets ``prepared``, ``trajectories``, ``dataset``, ``fit`` and ``run``, with a recipe to
        start from also ``pretrain``, and ``recipe.json`` with the time of each stage. Run again
        with the same folder, every stage goes on where it stopped. For recipes of observables see
        :func:`~kstep_training.observable_recipe.run_observable_recipe`.
    workers : int
        Processes that simulate.
    scheduler : str, optional
        Address of a Dask cluster to simulate on.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ValueError, FileNotFoundError
        For a recipe or a molecule list that cannot be used.
    ImportError
        If a package is missing.
    DynamicsFailed
        If the run at the end cannot go on.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    path = recipe_path(name_or_file)
    if (observable := observable_of(path)) is not None:
        return run_observable_recipe(observable, path, overrides, output, workers, scheduler)
    deeper = [text for text in overrides if text.startswith("pretrain.")]
    recipe = load_recipe(name_or_file, [text for text in overrides if text not in deeper])
    if deeper and recipe.pretrain is None:
        raise ValueError(f"{deeper[0]!r} is for the recipe to start from, and there is none")
    output.mkdir(parents=True, exist_ok=True)
    settings = recipe.fit
    if recipe.pretrain is not None:
        inner = load_recipe(recipe.pretrain, [text.removeprefix("pretrain.") for text in deeper])
        if inner.pretrain is not None:
            raise ValueError(f"{recipe.pretrain!r} starts from yet another recipe; expected none")
        model = _model(inner, output / "pretrain", _Workers(workers, scheduler))
        settings = dataclasses.replace(settings, init_from=str(model))
    recipe = dataclasses.replace(recipe, fit=settings, pretrain=None)
    model = _model(recipe, output, _Workers(workers, scheduler))
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        molecule, settings_of_run = _molecule(recipe, output), as_overrides(recipe.run)
        StageRecord(recipe, output).timed(
            "run", lambda: run_dynamics(str(model), molecule, settings_of_run, output / "run")
        )
    return model


def _model(recipe: Recipe, output: Path, workers: _Workers) -> Path:
    """All stages up to the model file."""
    output.mkdir(parents=True, exist_ok=True)
    prepared, trajectories, dataset = (
        output / stage for stage in ("prepared", "trajectories", "dataset")
    )
    stage = FitStage(recipe.name, recipe.network, recipe.fit)
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        # One of several processes of a fit, started by the first when the data were there.
        return fit(stage, dataset, output / "fit")
    record = StageRecord(recipe, output)
    record.timed("prep", lambda: run_prep(recipe.molecules, as_overrides(recipe.prep), prepared))
    record.timed(
        "simulate",
        lambda: run_simulate(
            prepared, as_overrides(recipe.simulate), trajectories, workers.count, workers.scheduler
        ),
    )
    record.timed(
        "dataset", lambda: run_dataset([trajectories], as_overrides(recipe.dataset), dataset)
    )
    record.timed("fit", lambda: report_fit(fit(stage, dataset, output / "fit")))
    return output / "fit" / f"{recipe.name}.safetensors"


def _molecule(recipe: Recipe, output: Path) -> str:
    """Molecule of the run: a prepared one, that which the fit has seen least of."""
    name = recipe.molecule
    if name is None:
        shards = open_dataset(output / "dataset").shards
        name = min(shards, key=lambda s: ("test", "validation", "train").index(s.part)).molecule
    prepared = output / "prepared" / name
    return str(prepared) if prepared.is_dir() else name
