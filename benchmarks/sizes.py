"""Acceptance of Metropolized jumps against the size of the molecule: GFN2, `organic-gfn2`, 300 K.

    python -m benchmarks.sizes CACHE [--jumps 120]
    python -m benchmarks.sizes CACHE --report

One replica each, all momenta drawn anew at every jump, three extra chances; the first chance is
what a run without them would have. Runs are kept in the folder CACHE and never made twice.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.optimize import BFGS

from benchmarks.common import write_result
from benchmarks.langevin import baoab
from benchmarks.list_physics import joined
from benchmarks.sampling_runs import (
    TEMPERATURE,
    Plan,
    drawn,
    load,
    make_from,
    network,
    replica_physics,
)
from kstep_integrators import load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import residual_rms
from kstep_integrators.potentials import Potential
from kstep_training.prep.molecules import conformers

MOLECULES = {
    "cyclohexane": "C1CCCCC1",
    "hexane": "CCCCCC",
    "acetylglycine-methylamide": "CC(=O)NCC(=O)NC",
    "dodecane": "CCCCCCCCCCCC",
    "acetyl-leucylalanine-methylamide": "CC(=O)NC(CC(C)C)C(=O)NC(C)C(=O)NC",
}
"""18, 20, 19, 38 and 41 atoms. The first is in the list that the model was trained on; none of the
others is, and its longest chain has four carbons. `benchmarks.sampling` has those with 9 atoms."""
STRIDES_FS = (50.0, 20.0, 8.0)
RESIDUAL_FRAMES = 20


def thermalized(name: str) -> Atoms:
    """The conformer that MMFF94 likes best of ten, relaxed and kept at 300 K for 1 ps by GFN2."""
    rng = np.random.default_rng([30, *name.encode()])
    atoms = conformers(MOLECULES[name], 10)[0]
    atoms.calc = xtb_calculator("GFN2-xTB")
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=300)
    state, physics = drawn(joined([atoms]), rng), replica_physics(atoms, 1)
    end, *_ = baoab(
        lambda positions: physics(state.replace(positions=positions)),
        state,
        units.fs,
        0.02 / units.fs,
        TEMPERATURE,
        1000,
        1000,
        rng,
    )
    atoms.positions = end.positions.numpy()
    return atoms


def residual(path: Path, atoms: Atoms, potential: Potential) -> float:
    """Rms residual in meV/angstrom over frames of a run."""
    positions = load(path).positions[0]
    frames = positions[:: max(1, len(positions) // RESIDUAL_FRAMES)].astype(np.float64)
    state, physics = joined([atoms]), replica_physics(atoms, 1)
    evaluate = network(potential, state)
    pairs = []
    for frame in torch.from_numpy(frames):
        exact = physics(state.replace(positions=frame)).require_forces()
        pairs.append((exact.numpy(), evaluate(frame).require_forces().numpy()))
    return 1e3 * residual_rms(*np.array(pairs).swapaxes(0, 1))


def summary(path: Path) -> dict[str, Any]:
    """What one run says of acceptance."""
    run = load(path)
    taken, change = run.accepted_at[0], run.first_change[0]
    weights = np.exp(-change)
    count = len(taken)
    first = float((taken == 1).mean())
    return {
        "stride_fs": run.plan.stride_fs,
        "jumps": count,
        "accepted_first": first,
        "accepted_first_error": math.sqrt(first * (1.0 - first) / count),
        "accepted": float((taken > 0).mean()),
        "evaluations": int(run.evaluations[0]),
        "mean_exp_minus_dH": float(weights.mean()),
        "mean_exp_minus_dH_error": float(weights.std() / math.sqrt(count)),
        "rms_dH_kT": float(np.sqrt(np.mean(change[np.isfinite(change)] ** 2))),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES), choices=list(MOLECULES))
    parser.add_argument("--jumps", type=int, default=120)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.report:
        rows = []
        for name in arguments.molecules:
            info = arguments.cache / f"{name}.npz"
            if not info.exists():
                continue
            with np.load(info, allow_pickle=False) as file:
                about = {
                    "molecule": name,
                    "atoms": len(file["positions"]),
                    "residual_meV_per_A": float(file["residual"]),
                }
            for path in sorted(arguments.cache.glob(f"{name}-jumps-*.npz")):
                rows.append(about | summary(path))
                print(rows[-1])
        write_result("sizes", {"what": __doc__, "rows": rows})
        return
    model = load_model("organic-gfn2", compile=True)
    for name in arguments.molecules:
        start = arguments.cache / f"{name}-start.npz"
        if not start.exists():
            atoms = thermalized(name)
            np.savez(start, numbers=atoms.numbers, positions=atoms.positions)
        with np.load(start, allow_pickle=False) as file:
            atoms = Atoms(file["numbers"], positions=file["positions"])
        paths = []
        for seed, stride in enumerate(STRIDES_FS):
            plan = Plan(name, "jumps", seed, arguments.jumps, math.inf, stride, chances=3)
            make_from(plan, atoms, atoms.positions[None], model, arguments.cache)
            paths.append(arguments.cache / plan.file)
        info = arguments.cache / f"{name}.npz"
        if not info.exists():
            # Of the longest stride, whose frames have least to do with each other.
            value = residual(paths[0], atoms, model)
            np.savez(info, positions=atoms.positions, residual=np.array(value))


if __name__ == "__main__":
    main()
