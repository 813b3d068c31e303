"""The project's standing benchmark: `kstep evaluate` of the bundled model, kept as JSON.

    python -m benchmarks.run --suite quick CACHE
    python -m benchmarks.run --suite full CACHE --workers 2
    python -m benchmarks.fill

Runs are kept in the folder CACHE and never made twice; the page with all pictures is
``CACHE/SUITE/evaluation.html``. ``quick`` has two small molecules and short runs, for a look after
a change; ``full`` has ten molecules of the training list and five unlike them, and takes hours:
``--molecules`` reports those that are ready.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from pathlib import Path
from typing import Any

from benchmarks.common import write_result
from benchmarks.long_strides import MOLECULES
from benchmarks.residuals import OUTSIDE
from kstep_integrators import named_molecule
from kstep_training.evaluate.command import evaluate
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import Target
from kstep_training.prep.molecules import conformers

MODEL = "organic-gfn2"

SUITES = {
    "quick": EvaluateSettings(
        length_ps=1.25,
        strides_fs=[2.0, 4.0],
        ensemble_length_ps=2.0,
        ensemble_strides_fs=[20.0],
        # Compiling takes longer than such runs.
        compile=False,
    ),
    # Half as long as `kstep evaluate` makes them by default: it is fifteen molecules.
    "full": EvaluateSettings(length_ps=1.25, ensemble_length_ps=5.0),
}
"""Base step 0.5 fs; the full one: 2, 4 and 8 fs, and 20, 50 and 100 fs under a Metropolis test."""


def targets(suite: str) -> list[Target]:
    """Molecules of a suite."""
    if suite == "quick":
        return [Target(name, named_molecule(name)) for name in ("water", "methanol")]
    listed = [Target(name, named_molecule(name)) for name in MOLECULES]
    return listed + [Target(name, conformers(smiles, 1)[0]) for name, smiles in OUTSIDE.items()]


def committed(report: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping in the repository: everything but the numbers of single runs."""
    molecules = {
        molecule["name"]: {
            "atoms": molecule["atoms"],
            "verdicts": molecule["verdicts"],
            "problems": molecule["problems"],
            "misses": [c for c in molecule["checks"] if c["status"] == "miss"],
            "trajectory": {
                c["method"]: c["value"]
                for c in molecule["checks"]
                if c["promise"] == "dynamics" and c["what"] == "trajectory"
            },
        }
        for molecule in report["molecules"]
    }
    kept = ("model", "model_identity", "bar", "settings", "totals", "checks", "misses_by_chance",
            "not_evaluated", "summary")  # fmt: skip
    return {key: report[key] for key in kept} | {"molecules": molecules}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--suite", choices=list(SUITES), default="quick")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--molecules", nargs="+", help="only these of the suite")
    arguments = parser.parse_args()
    suite, cache = arguments.suite, arguments.cache
    known = targets(suite)
    wanted = arguments.molecules or [target.name for target in known]
    if unknown := {*wanted} - {target.name for target in known}:
        parser.error(f"{suite} has no {', '.join(sorted(unknown))}")
    chosen = [target for target in known if target.name in wanted]
    report = evaluate(MODEL, chosen, SUITES[suite], cache / suite, cache, arguments.workers)
    found = {"what": __doc__, "suite": suite, "planned": len(known), **committed(report)}
    write_result(f"evaluate_{suite}", found)


if __name__ == "__main__":
    main()
