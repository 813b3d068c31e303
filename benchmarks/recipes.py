"""Recipes from a list of molecules to a finished run, and models of several sizes of the network.

kstep recipe qm-gfn2-direct --output qm-gfn2-direct
python -m benchmarks.run --suite recipes --folders qm-gfn2-direct ...

``network_sizes``: files of fits to equal data under one schedule; other models, such as the bundled
one, can stand beside them. Residuals are those of Langevin trajectories at 300 K that nothing was
fitted to. Times are processor time of one force through ``load_model(file)``, as a run calls it;
models take turns with each other and with GFN2, and medians over the turns are kept.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.energy import SETTINGS, force_errors, unseen
from benchmarks.learning import ResidualOptions, learning_residuals
from benchmarks.learning_peers import MOLECULES
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.jumps.load import load_model
from kstep_integrators.potentials import NetworkPotential
from kstep_training.prep.molecules import Molecule, bundled_list, conformers, read_smiles

__all__ = ["network_sizes", "recipes"]

RUN = ("molecule", "method", "stride_fs", "simulated_ps", "evaluations", "fallbacks",
       "drift_meV_per_atom_per_ps", "fluctuation_meV_per_atom", "temperature_K",
       "temperature_per_element_K", "residual_rms_meV_per_A")  # fmt: skip
"""Keys of the summary of a run."""
AT_300_K = dataclasses.replace(SETTINGS, temperatures=[300.0], trajectories=1, interval_steps=20)
TIMED = {
    "ethanol": "CCO",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "trimethoprim": "COc1cc(cc(OC)c1OC)Cc1cnc(N)nc1N",
}
"""9, 21 and 39 atoms."""


def record(folder: Path) -> dict[str, Any]:
    """Stages, fit and run of one recipe, and of the one that it starts from."""
    recipe = json.loads((folder / "recipe.json").read_text())
    name = recipe["recipe"]["name"]
    fitted = json.loads((folder / "fit" / f"{name}.json").read_text())
    row: dict[str, Any] = {
        "recipe": folder.name,
        "seconds": {stage: round(value, 1) for stage, value in recipe["seconds"].items()},
        "frames": fitted["frames"],
        "epochs": fitted["epochs"],
        "validation": fitted["validation"],
        "throughput": fitted["throughput"],
    }
    if (folder / "pretrain").is_dir():
        row["pretrain"] = record(folder / "pretrain")
    if (folder / "run" / "summary.json").exists():
        summary = json.loads((folder / "run" / "summary.json").read_text())
        row["run"] = {key: summary[key] for key in RUN if key in summary}
    return row


@dataclass(frozen=True)
class RecipeOptions(Options):
    """Recipes that were run."""

    folders: tuple[Path, ...] = option((), "named after the recipes")


def recipes(options: RecipeOptions) -> dict[str, Any]:
    """Seconds of recipes on the clock, over all calls, beside all other work of the machine."""
    return {"rows": [record(folder) for folder in options.folders]}


@dataclass(frozen=True)
class NetworkSizesOptions(Options):
    """Which models, and how long."""

    models: tuple[str, ...] = option(("organic-gfn2",), "model files, or bundled names")
    inside: tuple[str, ...] = option((), "molecules of the list; all by default")
    outside: tuple[str, ...] = option(tuple(MOLECULES), "some of the ten outside the list")
    learners: tuple[str, ...] = option(
        ("dimethylformamide", "propanal"), "molecules outside the list that runs learn"
    )
    labels: int = option(100, "of the runs that learn")
    rounds: int = option(40, "in which the models take turns")
    workers: int = option(1, "local processes for the trajectories")

    @classmethod
    def smoke(cls, cache: Path) -> NetworkSizesOptions:
        """The bundled model on few molecules."""
        return cls(cache, ("organic-gfn2",), ("water",), ("acetaldoxime",), ("water",), 4, 2)


def _forces(models: list[NetworkPotential], smiles: str) -> list[Callable[[int], Any]]:
    """Forces by each model and by GFN2, at positions that are moved by 0.03 A at every call."""
    atoms = conformers(smiles, 1)[0]
    state = state_from_atoms(atoms)
    noise = torch.randn(16, *state.positions.shape, generator=torch.Generator().manual_seed(0))
    places = state.positions + 0.03 * noise.double()
    atoms.calc = xtb_calculator("GFN2-xTB")

    def gfn2(call: int) -> Any:
        atoms.positions[:] = places[call % 16].numpy()
        return atoms.get_forces()

    def by(bound: Any) -> Callable[[int], Any]:
        return lambda call: bound(places[call % 16], None)

    return [*(by(model.bind(state)) for model in models), gfn2]


def _microseconds(forces: list[Callable[[int], Any]], rounds: int) -> list[float]:
    """Processor time of each: medians over rounds in which they take turns."""

    def spent(force: Callable[[int], Any], calls: int) -> float:
        began = time.process_time()
        for call in range(calls):
            force(call)
        return (time.process_time() - began) / calls

    with torch.no_grad():
        for force in forces:
            force(0)  # whatever is prepared at the first call
        calls = [max(3, round(0.02 / max(spent(force, 3), 1e-6))) for force in forces]
        turns = [[spent(*one) for one in zip(forces, calls, strict=True)] for _ in range(rounds)]
    return [1e6 * statistics.median(times) for times in zip(*turns, strict=True)]


def network_sizes(options: NetworkSizesOptions) -> dict[str, Any]:
    """Validation error, residuals inside and outside the list, times, and residuals when learned.

    ValueError: for a model that is no network potential.
    """
    models = []
    for file in options.models:
        model = load_model(file, device="cpu")
        if not isinstance(model, NetworkPotential):
            raise ValueError(f"{file} is a {type(model).__name__}, expected a network potential")
        models.append(model)
    listed, _ = read_smiles(bundled_list("qm_train"))
    parts = {
        "inside": [one for one in listed if one.name in options.inside or not options.inside],
        "outside": [Molecule(name, MOLECULES[name], 0) for name in options.outside],
    }
    folder = options.cache / "network_sizes"
    frames = {
        key: unseen(part, folder / key, AT_300_K, options.workers) for key, part in parts.items()
    }
    learned = learning_residuals(
        ResidualOptions(options.cache, options.learners, options.models, 1, options.labels)
    )["rows"]
    times = {
        name: _microseconds(_forces(models, smiles), options.rounds)
        for name, smiles in TIMED.items()
    }
    rows = []
    for place, (file, model) in enumerate(zip(options.models, models, strict=True)):
        name, sizes, record = Path(file).stem, model.header.network, model.header.training
        errors = {
            key: kept(folder / f"{model.digest[:12]}.{key}.{len(part)}.json",
                      lambda: force_errors(model, part))  # noqa: B023
            for key, part in frames.items()
        }  # fmt: skip
        rows.append({
            "model": name, "channels": sizes["channels"], "layers": sizes["layers"],
            "weights": sum(one.numel() for one in model.network.parameters()),
            "frames": record["frames"], "epochs": record["epochs"],
            "validation_meV_per_A": record["validation"]["val_force_rms"],
            **errors,
            "microseconds": {one: figures[place] for one, figures in times.items()},
            "learned": [row for row in learned if row["base"] == name],
        })  # fmt: skip
    gfn2 = {name: figures[-1] for name, figures in times.items()}
    return {
        "temperature_K": 300.0, "labels": options.labels, "gfn2_microseconds": gfn2, "rows": rows,
    }  # fmt: skip
