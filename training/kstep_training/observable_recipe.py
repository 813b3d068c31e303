"""Recipes of observables: trajectories, labels, a fit with its evaluation, and an observed run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kstep_training.keys import setting
from kstep_training.observables.dynamics.dimer_dynamics import DimerSettings
from kstep_training.observables.dynamics.dimer_runs import dimer_runs
from kstep_training.observables.dynamics.structure_dynamics import (
    StructureSettings,
    structure_dynamics,
)
from kstep_training.observables.fit.fit_observable import run_fit_observable
from kstep_training.observables.fit.fit_settings import CouplingFitSettings, SpectrumFitSettings
from kstep_training.observables.fit.fit_stages import (
    CouplingFitStage,
    CouplingNetworkSettings,
    SpectrumFitStage,
    SpectrumNetworkSettings,
)
from kstep_training.observables.labels.coupling_labels import CouplingLabelSettings
from kstep_training.observables.labels.label import run_label
from kstep_training.observables.labels.xanes_labels import XANESLabelSettings
from kstep_training.observables.observe.observe import ObserveSettings, run_observe
from kstep_training.observables.samples.spectrum_samples import GridSettings
from kstep_training.observables.samples.split import SplitSettings
from kstep_training.options import as_overrides, read_options
from kstep_training.progress import followed
from kstep_training.recipe_record import StageRecord

__all__ = ["RECIPES", "CouplingRecipe", "SpectrumRecipe", "run_observable_recipe"]


@dataclass(frozen=True)
class CouplingRecipe:
    """Settings of all stages from pairs of molecules to couplings along a run.

    Raises
    ------
    ValueError
        If a pair is none.

    Examples
    --------
    >>> CouplingRecipe(pairs=["ethene+furan"]).dimers
    [('ethene', 'furan')]
    """

    observable: str = setting("couplings", "what is observed")
    name: str = setting("couplings", "name of the file of the observable")
    description: str = setting("", "one line on the observable")
    pairs: list[str] = setting(
        ["ethene+ethene"], "the two molecules of each dimer, as kstep run takes them, with a plus"
    )
    trajectories: int = setting(6, "runs of each dimer whose frames are labelled")
    observed_frames: int = setting(200, "frames of the run of the first dimer that is observed")
    twin: bool = setting(False, "whether a network that knows no cheap coupling is fitted as well")
    magnitude: bool = setting(
        False, "whether the magnitude alone is learned, and the sign is that of the cheap coupling"
    )
    dynamics: DimerSettings = field(default_factory=DimerSettings)
    label: CouplingLabelSettings = field(default_factory=CouplingLabelSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    network: CouplingNetworkSettings = field(default_factory=CouplingNetworkSettings)
    fit: CouplingFitSettings = field(default_factory=CouplingFitSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)

    def __post_init__(self) -> None:
        _several("number of pairs", len(self.pairs))
        for name in ("trajectories", "observed_frames"):
            _several(name, getattr(self, name))
        for pair in self.pairs:
            if len([word for word in pair.split("+") if word]) != 2:
                raise ValueError(
                    f"a pair is {pair!r}, expected two molecules joined by one plus, such as "
                    "ethene+furan; give ions as files"
                )

    @property
    def dimers(self) -> list[tuple[str, str]]:
        """The two molecules of each pair."""
        return [(pair.split("+")[0], pair.split("+")[1]) for pair in self.pairs]

    @property
    def stage(self) -> CouplingFitStage:
        """Settings of the fit."""
        return CouplingFitStage(
            self.name, self.twin, self.magnitude, self.split, self.network, self.fit
        )


@dataclass(frozen=True)
class SpectrumRecipe:
    """Settings of all stages from molecules to spectra along a run.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> SpectrumRecipe().stage.name
    'xanes'
    """

    observable: str = setting("xanes", "what is observed")
    name: str = setting("xanes", "name of the file of the observable")
    description: str = setting("", "one line on the observable")
    observed_ps: float = setting(5.0, "length of the run of the first molecule, observed", "ps")
    twin: bool = setting(False, "whether a network of scalars only is fitted as well")
    dynamics: StructureSettings = field(default_factory=StructureSettings)
    label: XANESLabelSettings = field(default_factory=XANESLabelSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    network: SpectrumNetworkSettings = field(default_factory=SpectrumNetworkSettings)
    fit: SpectrumFitSettings = field(default_factory=SpectrumFitSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)

    def __post_init__(self) -> None:
        if not 0.0 < self.observed_ps < float("inf"):
            raise ValueError(f"observed_ps is {self.observed_ps}, expected a positive number")

    @property
    def stage(self) -> SpectrumFitStage:
        """Settings of the fit."""
        return SpectrumFitStage(self.name, self.twin, self.split, self.grid, self.network, self.fit)


_Runs = tuple[int, Iterator[tuple[str, Path | Exception]]]

RECIPES: Final[dict[str, type[CouplingRecipe] | type[SpectrumRecipe]]] = {
    "couplings": CouplingRecipe,
    "xanes": SpectrumRecipe,
}
"""Settings of the recipes, by the kind of labels."""


def _several(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}, expected at least 1")


def run_observable_recipe(
    observable: str,
    path: Path,
    overrides: Sequence[str],
    output: Path,
    workers: int,
    scheduler: str | None = None,
) -> Path:
    """Make trajectories and their labels, fit a network to them, and observe a run with it.

    Parameters
    ----------
    observable : str
        One of :data:`RECIPES`.
    path : Path
        The recipe.
    overrides : sequence of str
        ``key=value``.
    output : Path
        Gets ``trajectories``, ``labels``, ``fit``, ``run`` and ``observed``, and ``recipe.json``
        with the time of each stage. Run again with the same folder, every stage goes on where it
        stopped.
    workers : int
        Processes that make trajectories and labels.
    scheduler : str, optional
        Address of a Dask cluster that does so in their place.

    Returns
    -------
    Path
        The file of the observable.

    Raises
    ------
    ValueError, FileNotFoundError
        For a recipe that cannot be used, or a run that does not end well.
    """
    if observable not in RECIPES:
        raise ValueError(
            f"{path}: observable is {observable!r}, expected one of {', '.join(RECIPES)}"
        )
    recipe = read_options(RECIPES[observable], path, overrides)
    output.mkdir(parents=True, exist_ok=True)
    record, labels, made = StageRecord(recipe, output), output / "labels", list[Path]()

    def trajectories() -> None:
        made.extend(_followed(_labelled_runs(recipe, output / "trajectories", workers, scheduler)))

    record.timed("dynamics", trajectories)
    settings = as_overrides(recipe.label)
    record.timed("label", lambda: run_label(observable, made, settings, labels, workers, scheduler))
    stage = as_overrides(recipe.stage)
    record.timed("fit", lambda: run_fit_observable(labels, stage, output / "fit"))
    model, runs = output / "fit" / f"{recipe.name}.safetensors", list[Path]()
    record.timed("run", lambda: runs.extend(_followed(_observed_run(recipe, output / "run"))))
    observe = as_overrides(recipe.observe)
    record.timed("observe", lambda: run_observe(model, runs, observe, output / "observed"))
    return model


def _labelled_runs(
    recipe: CouplingRecipe | SpectrumRecipe, folder: Path, workers: int, scheduler: str | None
) -> _Runs:
    if isinstance(recipe, CouplingRecipe):
        return dimer_runs(
            recipe.dimers, recipe.trajectories, recipe.dynamics, folder, workers, scheduler
        )
    return structure_dynamics(recipe.dynamics, folder, workers, scheduler)


def _observed_run(recipe: CouplingRecipe | SpectrumRecipe, folder: Path) -> _Runs:
    """One run more, that no label is from."""
    if isinstance(recipe, CouplingRecipe):
        seed = recipe.dynamics.seed + recipe.trajectories
        changed = replace(recipe.dynamics, frames=recipe.observed_frames, seed=seed)
        return dimer_runs(recipe.dimers[:1], 1, changed, folder)
    seed = recipe.dynamics.seed + recipe.dynamics.trajectories
    longer = replace(
        recipe.dynamics,
        molecules=recipe.dynamics.molecules[:1],
        trajectories=1,
        length_ps=recipe.observed_ps,
        seed=seed,
    )
    return structure_dynamics(longer, folder)


def _followed(runs: _Runs) -> list[Path]:
    """Trajectories of all runs, which all have to end well."""
    total, results = runs
    made = []
    for name, result in followed(results, "runs", total):
        if isinstance(result, Exception):
            raise ValueError(f"run {name} ended: {result}") from result
        made.append(result)
    return sorted(made)
