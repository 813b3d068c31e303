"""Cost of a step beyond model and physics, beside that of another checkout of the project.

``python -m benchmarks.overhead OLD`` runs each case in a process of its own, with the package of
the folder OLD and with this one in turns. Potential and physics of ethanol are springs that cost
next to nothing, a stride is one base step, and the run keeps no files: what is left is the library,
and ASE. Seconds are those of the processor. ``--case NAME`` measures one case in this process.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

ROOT = Path(__file__).resolve().parents[1]
BLOCKS, STEPS = 20, 100
BATH = {"thermostat": "langevin", "temperature_K": 100, "friction": 0.02}


class Springs(Calculator):
    """The physics: each atom bound to where it was first."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE has it)

    def calculate(self, atoms: Any = None, *rest: Any) -> None:
        """Energy and forces."""
        super().calculate(atoms, *rest)
        self.origin = vars(self).get("origin", atoms.positions.copy())
        moved = atoms.positions - self.origin
        self.results = {"energy": float((moved * moved).sum()), "forces": -2.0 * moved}


def _bound(state: Any) -> Any:
    """The same springs as a potential of atoms."""
    import torch

    from kstep_integrators.state import Evaluation

    def forces(positions: Any, workspace: Any) -> Any:
        moved, energy = positions - state.positions, torch.zeros_like(state.time)
        return Evaluation(energy.index_add(0, state.batch, moved.square().sum(1)), -2 * moved), None

    return forces


def _ase(replicas: int = 1, **options: Any) -> float:
    """Milliseconds for each replica and step: the least of the blocks, which others disturb."""
    import torch
    from ase.md.velocitydistribution import thermalize_momenta

    from kstep_integrators import Ensemble, KStepDynamics, named_molecule

    inner: Any = SimpleNamespace(timestep=0.05, device=torch.device("cpu"), bind=_bound)
    inner.to, inner.describe = (lambda device: inner), (lambda: {"potential": "springs"})
    starts = [named_molecule("ethanol") for _ in range(replicas)]
    options |= {"k": 1, "rng": np.random.default_rng(0)}
    for atoms in starts:
        thermalize_momenta(atoms, temperature_K=100, rng=options["rng"])
        atoms.calc = Springs()
    run: Any = KStepDynamics(starts[0], inner, **options)
    if replicas > 1:
        run = Ensemble(starts, inner, lambda atoms: Springs(), **options)
    blocks = []
    for _ in range(BLOCKS):
        began = time.process_time()
        run.run(STEPS // replicas)
        blocks.append(time.process_time() - began)
    return 1e3 * min(blocks) / (STEPS // replicas) / replicas


CASES: dict[str, Callable[[], float]] = {
    "one molecule": _ase,
    "one molecule, Langevin": lambda: _ase(**BATH),
    "ensemble of 16, Langevin": lambda: _ase(16, **BATH),
}


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
        print(CASES[arguments.case]())
        return
    rows = {}
    for case in CASES:
        taken: dict[str, list[float]] = {"old": [], "new": []}
        for _ in range(arguments.repeats):
            for name, tree in (("old", arguments.old), ("new", ROOT)):
                path = f"{tree.resolve()}{os.pathsep}{tree.resolve() / 'training'}"
                environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
                command = [sys.executable, str(Path(__file__).resolve()), "--case", case]
                printed = subprocess.check_output(command, text=True, env=environment)
                taken[name].append(float(printed.splitlines()[-1]))
        old, new = (statistics.median(taken[name]) for name in ("old", "new"))
        rows[case] = {"step_ms": taken, "median_ms": {"old": old, "new": new}}
        print(f"{case}: {old:.3f} -> {new:.3f} ms, ratio {new / old:.2f}", flush=True)
    if arguments.output:
        sys.path.insert(0, str(ROOT))
        results = importlib.import_module("benchmarks.results")
        results.write(arguments.output.stem, rows, arguments.output.parent)


if __name__ == "__main__":
    main()
