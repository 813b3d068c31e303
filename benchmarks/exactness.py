"""Whether Metropolized jumps with bad potentials are exact, where the ensemble is known.

python -m benchmarks.exactness CACHE [--only SYSTEM]

Quartic, double well and three-dimensional harmonic against quadrature and formulae; thirteen
Lennard-Jones atoms in a harmonic container against exact relations and a Monte Carlo reference.
Replicas start in equilibrium, those of the droplet from a Monte Carlo run of their own.
Rows that CACHE holds are not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import write_result
from kstep_integrators.testing.block_averages import deviate, expected_largest, family_limit
from kstep_integrators.testing.droplet import equilibrated, expected_from, reference
from kstep_integrators.testing.known_ensembles import SYSTEMS
from kstep_integrators.testing.sampling import compare, sample

SMALL = {"count": 256, "equilibration": 20, "strides": 300}
DROPLET = {"count": 64, "equilibration": 10, "strides": 250}
FILTERED_DROPLET = {"count": 64, "equilibration": 10, "strides": 100}
SMALL_ONES = ("quartic", "double well", "harmonic")


def run(name: str, corrector: str, chances: int, seed: int, written: Any) -> dict[str, Any]:
    """One system, corrector and number of extra chances."""
    system = SYSTEMS[name]()
    known, settings = dict(system.expected), SMALL
    if name == "LJ13":
        known |= expected_from(written)
        settings = FILTERED_DROPLET if corrector == "filtered" else DROPLET
        system = equilibrated(system, settings["count"], 800, 1000 + seed)
    began = time.perf_counter()
    averages, report = sample(system, corrector, chances, seed=seed, **settings)
    tests = compare(averages, known)
    head = {"system": name, "corrector": corrector, "extra_chances": chances, **settings}
    return {
        **head,
        **report,
        "largest_deviate": max(tests.deviates),
        "comparisons": len(tests.rows),
        "seconds": time.perf_counter() - began,
        "tests": tests.rows,
    }


def control(name: str) -> dict[str, Any]:
    """The same potential without the test: how far off its ensemble is."""
    system = SYSTEMS[name]()
    averages, _ = sample(system, "none", 0, seed=99, metropolize=False, **SMALL)
    rows = compare(averages, system.expected).rows
    worst = max(rows, key=lambda row: abs(row["deviate"]))
    return {"system": name, "corrector": "none", "metropolized": False, "worst": worst}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All deviates together, of averages, histograms and detailed balance."""
    means = [abs(t["deviate"]) for r in rows for t in r["tests"] if t["quantity"] != "histogram"]
    histograms = [t["p_value"] for r in rows for t in r["tests"] if t["quantity"] == "histogram"]
    balances = [abs(row["balance_deviate"]) for row in rows]
    every = means + [deviate(p) for p in histograms] + balances
    return {
        "comparisons": len(every),
        "means_and_variances": len(means),
        "histograms": len(histograms),
        "largest_deviate": max(every),
        "expected_largest_deviate": expected_largest(len(every)),
        "limit_of_three_sigma_for_all": family_limit(len(every)),
        "beyond_two": sum(z > 2.0 for z in every),
        "beyond_two_expected": 0.0455 * len(every),
        "beyond_three": sum(z > 3.0 for z in every),
        "beyond_three_expected": 0.0027 * len(every),
        "root_mean_square_deviate": float(np.sqrt(np.mean(np.square(means)))),
        "smallest_p_value_of_histograms": min(histograms),
        "largest_deviate_of_exp_minus_dH": max(abs(r["exp_minus_dH_deviate"]) for r in rows),
        "expected_largest_of_as_many": expected_largest(len(rows)),
    }


def main() -> None:
    """Everything, one row after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", choices=SYSTEMS, help="make its rows, and no result yet")
    arguments = parser.parse_args()
    cache = arguments.cache
    cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    def kept(key: str, make: Any) -> dict[str, Any]:
        path = cache / f"{key.replace(' ', '_')}.json"
        if not path.exists():
            path.write_text(json.dumps(make()))
        row: dict[str, Any] = json.loads(path.read_text())
        return row

    written = kept("reference", lambda: reference(256, 2000, 12000))
    rows, seed = [], 0
    for name in SYSTEMS:
        for corrector in ("none", "impulse", "filtered"):
            for chances in (0, 3):
                key = f"{name}-{corrector}-{chances}"
                seed += 1
                if arguments.only not in (None, name):
                    continue
                rows.append(
                    kept(
                        key,
                        lambda n=name, c=corrector, e=chances, s=seed: run(n, c, e, s, written),
                    )
                )
                print(key, {k: v for k, v in rows[-1].items() if k != "tests"}, flush=True)
    if arguments.only:
        return
    controls = [kept(f"control-{name}", lambda n=name: control(n)) for name in SMALL_ONES]
    write_result(
        "exactness",
        {"summary": summary(rows), "reference": written, "rows": rows, "controls": controls},
    )


if __name__ == "__main__":
    main()
