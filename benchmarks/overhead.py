"""Cost of a step beyond model and physics, beside that of another checkout of the project.

``python -m benchmarks.overhead OLD`` runs each case in a process of its own, with the package of
the folder OLD and with this one in turns. Potential and physics of ethanol are springs that cost
next to nothing and are not subtracted, a stride is one base step, and the run keeps no files: what
is left is the library, and ASE. In OpenMM the flow returns at once what it returned first. And the
start: the import beyond that of torch, and a molecule, its run with the bundled model and its first
step, which has two evaluations of the model. Seconds are those of the processor, so that other work
on the machine does not count. ``--case NAME`` measures one case in this process.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BLOCKS, STEPS = 20, 100


def _springs() -> tuple[type, type]:
    """Classes of a potential and of a calculator that cost next to nothing."""
    import torch
    from ase.calculators.calculator import Calculator, all_changes

    from kstep_integrators.state import Evaluation

    class Physics(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE has it)
        origin: Any = None

        def calculate(
            self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            if self.origin is None:
                self.origin = atoms.positions.copy()
            moved = self.atoms.positions - self.origin
            self.results = {"energy": float((moved * moved).sum()), "forces": -2.0 * moved}

    class Springs:
        timestep, device = 0.05, torch.device("cpu")

        def to(self, device: Any) -> Any:
            return self

        def describe(self) -> dict[str, Any]:
            return {"potential": "springs"}

        def bind(self, state: Any) -> Any:
            origin, batch, count = state.positions, state.batch, state.n_molecules

            def forces(positions: Any, workspace: Any) -> Any:
                moved = positions - origin
                energy = torch.zeros(count, dtype=torch.float64)
                energy = energy.index_add(0, batch, moved.square().sum(1))
                return Evaluation(energy, -2.0 * moved), None

            return forces

    return Springs, Physics


def _per_step(run: Callable[[int], Any], replicas: int = 1) -> float:
    """Milliseconds for each replica and step: the least of the blocks, which others disturb."""
    run(STEPS)
    blocks = []
    for _ in range(BLOCKS):
        began = time.process_time()
        run(STEPS // replicas)
        blocks.append(time.process_time() - began)
    return 1e3 * min(blocks) / (STEPS // replicas) / replicas


def _ase(replicas: int = 1, **options: Any) -> float:
    from ase.md.velocitydistribution import thermalize_momenta

    from kstep_integrators import Ensemble, KStepDynamics, named_molecule

    springs, physics = _springs()
    starts = []
    for seed in range(replicas):
        atoms = named_molecule("ethanol")
        thermalize_momenta(atoms, temperature_K=100, rng=np.random.default_rng(seed))
        starts.append(atoms)
    if replicas == 1:
        starts[0].calc = physics()
        return _per_step(KStepDynamics(starts[0], springs(), k=1, **options).run)
    ensemble = Ensemble(starts, springs(), lambda atoms: physics(), k=1, **options)
    return _per_step(ensemble.run, replicas)


def _bath() -> dict[str, Any]:
    bath = {"temperature_K": 100, "friction": 0.02, "rng": np.random.default_rng(0)}
    return {"thermostat": "langevin", **bath}


def _openmm() -> float:
    sys.path.append(str(ROOT))
    overhead = importlib.import_module("benchmarks.openmm_overhead")
    return 1e-3 * float(overhead.without_a_flow("Reference")["fastest_us"])


def _import() -> float:
    import torch  # noqa: F401

    began = time.process_time()
    import kstep_integrators  # noqa: F401

    return 1e3 * (time.process_time() - began)


def _first_step() -> float:
    from kstep_integrators import KStepDynamics, named_molecule

    _, physics = _springs()
    began = time.process_time()
    atoms = named_molecule("ethanol")
    atoms.calc = physics()
    KStepDynamics(atoms, "organic-gfn2", k=1).run(1)
    return 1e3 * (time.process_time() - began)


CASES: dict[str, Callable[[], float]] = {
    "one molecule": _ase,
    "one molecule, Langevin": lambda: _ase(**_bath()),
    "ensemble of 16, Langevin": lambda: _ase(16, **_bath()),
    "OpenMM, Reference platform": _openmm,
    "import, beyond torch": _import,
    "new molecule to the end of its first step": _first_step,
}


def _elsewhere(tree: Path, case: str) -> float:
    """Milliseconds with the package of a folder, in a process of its own."""
    tree = tree.resolve()
    path = os.pathsep.join([str(tree), str(tree / "training")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--case", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["step_ms"])


def main() -> None:
    """Measure both checkouts in turns; medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", nargs="?", type=Path, help="checkout to compare with")
    parser.add_argument("--case", choices=sorted(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    if arguments.case:
        importlib.import_module("torch").set_num_threads(1)
        print(json.dumps({"step_ms": CASES[arguments.case]()}))
        return
    rows = {}
    for case in CASES:
        taken: dict[str, list[float]] = {"old": [], "new": []}
        for _ in range(arguments.repeats):
            for name, tree in (("old", arguments.old), ("new", ROOT)):
                taken[name].append(_elsewhere(tree, case))
        old, new = (statistics.median(taken[name]) for name in ("old", "new"))
        rows[case] = {"step_ms": taken, "median_ms": {"old": old, "new": new}}
        print(f"{case}: {old:.3f} -> {new:.3f} ms, ratio {new / old:.2f}", flush=True)
    if arguments.output:
        sys.path.insert(0, str(ROOT))
        results = importlib.import_module("benchmarks.results")
        results.write(arguments.output.stem, rows, arguments.output.parent)


if __name__ == "__main__":
    main()
