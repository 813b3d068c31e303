"""Ways to correct long strides: what keeps the correction and none of the heating.

    python -m benchmarks.correctors CACHE explore [--strides 4 8] [--methods ...]
    python -m benchmarks.correctors CACHE confirm [--molecules ethanol] [--methods ...] [--seeds 2]
    python -m benchmarks.correctors CACHE report

`explore`: ethanol, many replicas at once. Physics and potential are two small networks of inverse
distances, fitted to `organic-gfn2` for different times, so that all derivatives are cheap and
methods that need the physics at other positions can be tried. `confirm`: GFN2 with `organic-gfn2`
inside. The base step is 0.5 fs; energies are the physics at the sampled positions.

Methods are named by where the physics is evaluated and what multiplies the residual R. With x the
positions, f a filter of the Hessian's modes, A(x) the positions averaged along the flow of the
potential from rest, over a window of one stride (`mean`) or, with falling weights, two (`hat`), and
A_x its Jacobian: `impulse` R(x); `octic-1.2` f R(x); `mean` and `hat` A_x^T R(x); `molly-mean` and
`molly-hat` A_x^T R(A(x)), which is symplectic; `bonds` R(x) without what changes bonds of hydrogen;
`held` R(x_n) at all base steps of the stride that follows, not reversible; `none` nothing.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.common import write_result
from benchmarks.corrector_kicks import BASE, FS, corrector
from benchmarks.correctors_explore import EXPLORED, SAMPLE_FS, explore
from benchmarks.starts import thermalized
from kstep_integrators import DynamicsFailed, KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.testing import CountingCalculator


def confirm(
    cache: Path,
    molecules: list[str],
    methods: list[str],
    strides: list[float],
    seeds: int,
    ps: float,
) -> None:
    """Runs on GFN2."""
    for seed in range(seeds):
        for molecule in molecules:
            for stride in strides:
                for method in methods:
                    path = cache / f"confirm.{molecule}.{method}.{stride:g}.{seed}.json"
                    if not path.exists():
                        row = real(cache, molecule, method, stride, seed, ps)
                        path.write_text(json.dumps(row))
                        print(json.dumps(row), flush=True)


def start(cache: Path, molecule: str, seed: int) -> tuple[Any, Tensor]:
    """A thermal start under GFN2, and where 160 fs of Verlet with 0.125 fs lead."""
    path = cache / f"start.{molecule}.{seed}.safetensors"
    if not path.exists():
        atoms = thermalized(molecule, seed=seed)
        x, p = atoms.get_positions(), atoms.get_momenta()
        for _ in range(1280):
            atoms.set_momenta(atoms.get_momenta() + 0.0625 * FS * atoms.get_forces())
            step = 0.125 * FS * atoms.get_momenta() / atoms.get_masses()[:, None]
            atoms.set_positions(atoms.get_positions() + step)
            atoms.set_momenta(atoms.get_momenta() + 0.0625 * FS * atoms.get_forces())
        arrays = {"x": x, "p": p, "end": atoms.get_positions()}
        save_file({name: torch.tensor(a) for name, a in arrays.items()}, path)
    stored = load_file(path)
    atoms = named_molecule(molecule)
    atoms.calc = xtb_calculator("GFN2-xTB")
    atoms.set_positions(stored["x"].numpy())
    atoms.set_momenta(stored["p"].numpy())
    return atoms, stored["end"]


def real(
    cache: Path, molecule: str, method: str, stride: float, seed: int, ps: float
) -> dict[str, Any]:
    """One run on GFN2."""
    atoms, truth = start(cache, molecule, seed)
    atoms.calc = counter = CountingCalculator(atoms.calc)
    model = load_model("organic-gfn2", device="cpu", compile=True)
    k = round(stride * FS / BASE)
    dynamics = KStepDynamics(atoms, model, k, BASE, corrector(method))
    row: dict[str, Any] = {"molecule": molecule, "method": method, "stride_fs": stride}
    row |= {"seed": seed, "picoseconds": ps}
    times, energies = [], []

    def sample() -> None:
        now = dynamics.get_time()
        if abs(now - 160 * FS) < 0.01 * FS:
            off = torch.from_numpy(atoms.get_positions()) - truth
            row["rmsd_160_fs_A"] = float(off.square().sum(-1).mean().sqrt())
        if dynamics.nsteps % max(1, round(SAMPLE_FS / stride)) == 0:
            times.append(now)
            energies.append(atoms.get_total_energy())

    dynamics.attach(sample, interval=1)
    began = time.process_time()
    try:
        dynamics.run(round(1000 * ps / stride))
    except DynamicsFailed as error:
        row["error"] = str(error)
    row["seconds"] = time.process_time() - began
    drift = energy_drift(np.array(times), np.array(energies), len(atoms))
    row["drift_meV_per_atom_per_ps"] = drift.drift
    row["fluctuation_meV_per_atom"] = drift.fluctuation
    row["residual_meV_per_A"] = 1e3 * (dynamics.stats.residual_rms or 0.0)
    row["fallbacks"], row["evaluations"] = dynamics.stats.fallbacks, counter.evaluations
    return row


def report(cache: Path) -> None:
    """Gather the runs into one result."""
    explored = [json.loads(p.read_text()) for p in sorted(cache.glob("explore.*.json"))]
    rows = [json.loads(p.read_text()) for p in sorted(cache.glob("confirm.*.json"))]
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["molecule"], row["method"], row["stride_fs"]), []).append(row)
    confirmed = []
    for (molecule, method, stride), runs in sorted(groups.items()):
        drifts = [r["drift_meV_per_atom_per_ps"] for r in runs]
        entry = {"molecule": molecule, "method": method, "stride_fs": stride, "runs": len(runs)}
        entry["picoseconds"] = runs[0]["picoseconds"]
        entry["signed_mean_drift_meV_per_atom_per_ps"] = float(np.mean(drifts))
        entry["abs_drift_meV_per_atom_per_ps"] = float(np.median(np.abs(drifts)))
        for name in ("fluctuation_meV_per_atom", "rmsd_160_fs_A", "residual_meV_per_A"):
            known = [r[name] for r in runs if name in r]
            entry[name] = float(np.median(known)) if known else None
        entry["fallbacks"] = sum(r["fallbacks"] for r in runs)
        confirmed.append(entry)
        print(json.dumps(entry))
    for row in explored:
        print(json.dumps(row))
    write_result(
        "correctors",
        {"what": __doc__, "explored": explored, "confirmed": confirmed, "rows": rows},
    )


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("what", choices=["explore", "confirm", "report"])
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--molecules", nargs="+", default=["ethanol"])
    parser.add_argument("--strides", nargs="+", type=float, default=[8.0, 4.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--picoseconds", type=float, default=2.0)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.what == "report":
        report(given.cache)
    elif given.what == "explore":
        methods = given.methods or list(EXPLORED)
        explore(given.cache, methods, given.strides, given.picoseconds)
    else:
        methods = given.methods or ["impulse", "octic", "none"]
        confirm(
            given.cache, given.molecules, methods, given.strides, given.seeds, given.picoseconds
        )


if __name__ == "__main__":
    main()
