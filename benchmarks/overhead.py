"""Cost of a step beyond model and physics, beside that of another checkout of the project.

``python -m benchmarks.overhead OLD`` runs ethanol under Langevin dynamics and sixteen replicas of
it in processes of their own, with the package of the folder OLD and with this one in turns. What
counts is the time of a step less that of its jump (correctors included) and its physics, which the
run's own statistics tell. Both are Morse springs, and the run keeps no files. Seconds are those of
the processor, so that other work on the machine does not count. ``--case NAME`` measures one case
in this process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CASES = {"one molecule": 1, "ensemble of 16": 16}
STEPS, K = 300, 4


def _calculator(depth: float) -> Any:
    from kstep_integrators import named_molecule
    from kstep_integrators.testing import MorseNetwork

    return MorseNetwork(named_molecule("ethanol").positions, depth)


def measure(replicas: int) -> dict[str, float]:
    """Milliseconds for each replica and step."""
    import torch
    from ase import units
    from ase.md.velocitydistribution import thermalize_momenta

    from kstep_integrators import CalculatorPotential, Ensemble, KStepDynamics, named_molecule

    torch.set_num_threads(1)
    starts = []
    for seed in range(replicas):
        atoms = named_molecule("ethanol")
        thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(seed))
        starts.append(atoms)
    options: dict[str, Any] = {"k": K, "timestep": 0.25 * units.fs, "temperature_K": 300}
    options |= {"friction": 0.002 / units.fs, "rng": np.random.default_rng(0)}
    inner = CalculatorPotential(_calculator(1.9))
    if replicas == 1:
        starts[0].calc = _calculator(2.0)
        run: Any = KStepDynamics(starts[0], inner, **options)
    else:
        run = Ensemble(starts, inner, lambda atoms: _calculator(2.0), **options)
    run.run(20)
    inside, began = _inside(run, replicas), time.perf_counter()
    run.run(STEPS)
    seconds = time.perf_counter() - began
    inside = [after - before for before, after in zip(inside, _inside(run, replicas), strict=True)]
    return {"overhead_ms": 1e3 / STEPS / replicas * (seconds - sum(inside))}


def _inside(run: Any, replicas: int) -> list[float]:
    """Seconds in jumps and in the physics so far."""
    totals = run.stats if replicas == 1 else run.result()
    return [totals.jump_seconds, totals.physics_seconds]


def _elsewhere(tree: Path, case: str) -> float:
    """Milliseconds with the package of a folder, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--case", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["overhead_ms"])


def main() -> None:
    """Measure both checkouts in turns; medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", nargs="?", type=Path, help="checkout to compare with")
    parser.add_argument("--case", choices=sorted(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    if arguments.case:
        time.perf_counter = time.process_time
        print(json.dumps(measure(CASES[arguments.case])))
        return
    rows = {}
    for case in CASES:
        taken: dict[str, list[float]] = {"old": [], "new": []}
        for _ in range(arguments.repeats):
            for name, tree in (("old", arguments.old), ("new", ROOT)):
                taken[name].append(_elsewhere(tree, case))
        old, new = (statistics.median(taken[name]) for name in ("old", "new"))
        rows[case] = {"overhead_ms": taken, "median_ms": {"old": old, "new": new}}
        print(f"{case}: {old:.3f} -> {new:.3f} ms, ratio {new / old:.2f}")
    if arguments.output:
        sys.path.insert(0, str(ROOT))
        results = importlib.import_module("benchmarks.results")
        results.write(arguments.output.stem, rows, arguments.output.parent)


if __name__ == "__main__":
    main()
