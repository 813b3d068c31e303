"""Recipes from a list of molecules to a finished run: seconds, errors, the run.

kstep recipe qm-gfn2-direct --output qm-gfn2-direct
python -m benchmarks.run --suite recipes --folders qm-gfn2-direct ...
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suite import Options, option

__all__ = ["recipes"]

RUN = ("molecule", "method", "stride_fs", "simulated_ps", "evaluations", "fallbacks",
       "drift_meV_per_atom_per_ps", "fluctuation_meV_per_atom", "temperature_K",
       "temperature_per_element_K", "residual_rms_meV_per_A")  # fmt: skip
"""Keys of the summary of a run."""


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
