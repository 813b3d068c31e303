"""What recipes took from molecule list to finished run: seconds of each stage, errors, the run.

    kstep recipe mm-mmff94 --output mm-mmff94
    kstep recipe qm-gfn2-direct --output qm-gfn2-direct
    python -m benchmarks.recipes mm-mmff94 qm-gfn2-direct ...

Folders are named after the recipes. Seconds are those on the clock, over all calls that a recipe
took, and include whatever else the machine was doing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.common import write_result

__all__ = ["main", "record"]

RUN = (
    "molecule",
    "method",
    "stride_fs",
    "simulated_ps",
    "evaluations",
    "fallbacks",
    "drift_meV_per_atom_per_ps",
    "fluctuation_meV_per_atom",
    "temperature_K",
    "temperature_per_element_K",
    "residual_rms_meV_per_A",
)
"""Of the summary of a run."""


def record(folder: Path) -> dict[str, Any]:
    """Stages, fit and run of one recipe, and of the one that it starts from."""
    recipe = json.loads((folder / "recipe.json").read_text())
    name = recipe["recipe"]["name"]
    fitted = json.loads((folder / "fit" / f"{name}.json").read_text())
    found: dict[str, Any] = {
        "recipe": folder.name,
        "seconds": {stage: round(value, 1) for stage, value in recipe["seconds"].items()},
        "frames": fitted["frames"],
        "epochs": fitted["epochs"],
        "validation": fitted["validation"],
        "throughput": fitted["throughput"],
    }
    if (folder / "pretrain").is_dir():
        found["pretrain"] = record(folder / "pretrain")
    if (folder / "run" / "summary.json").exists():
        summary = json.loads((folder / "run" / "summary.json").read_text())
        found["run"] = {key: summary[key] for key in RUN if key in summary}
    return found


def main() -> None:
    """Collect the records of the folders given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    rows = [record(folder) for folder in parser.parse_args().folders]
    for row in rows:
        seconds = ", ".join(f"{stage} {value:.0f}" for stage, value in row["seconds"].items())
        print(f"{row['recipe']}: {seconds} s")
    write_result("recipes", {"what": __doc__, "rows": rows})


if __name__ == "__main__":
    main()
