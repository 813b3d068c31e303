"""Energy conservation at GFN2, 300 K: jumps against velocity Verlet, every molecule of the list.

    python -m benchmarks.nve CACHE [--methods verlet-1 kstep-2 plain] [--workers 2]
    python -m benchmarks.nve CACHE --batch --methods kstep-2 plain
    python -m benchmarks.nve CACHE --report

Runs are kept in the folder CACHE, one file for each molecule and method, and never made twice.
Every method starts from the same state and covers the same simulated time; evaluations are counted
inside the calculator.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from benchmarks.batch import run_nve
from benchmarks.common import percentiles, write_result
from benchmarks.starts import thermalized
from kstep_integrators import CalculatorPotential, KStepDynamics, load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.files import write_text_atomically
from kstep_integrators.models.molecules import named_molecule, named_molecules
from kstep_integrators.testing import CountingCalculator

SAMPLE_FS = 4.0
MODEL = "organic-gfn2"


@dataclass(frozen=True)
class Method:
    """How a molecule is moved: stride in fs, and what builds the dynamics."""

    stride_fs: float
    build: Callable[[Atoms], MolecularDynamics]
    molecules: tuple[str, ...] = ()


def _verlet(step: float) -> Method:
    return Method(step, lambda atoms: VelocityVerlet(atoms, step * units.fs))


def _network(k: int, base: float, **options: Any) -> Method:
    def build(atoms: Atoms) -> KStepDynamics:
        model = load_model(MODEL, device="cpu", compile=True)
        return KStepDynamics(atoms, model, k=k, timestep=base * units.fs, **options)

    return Method(k * base, build)


def _gfnff(k: int, base: float) -> Method:
    def build(atoms: Atoms) -> KStepDynamics:
        inner = CalculatorPotential(xtb_calculator("GFN-FF"))
        return KStepDynamics(atoms, inner, k=k, timestep=base * units.fs)

    return Method(k * base, build, ("ethanol",))


METHODS: dict[str, Method] = {
    "verlet-0.5": _verlet(0.5),
    "verlet-1": _verlet(1.0),
    "verlet-2": _verlet(2.0),
    "kstep-2": _network(4, 0.5),
    "plain": _network(8, 0.25),
    "potential-only-2": _network(4, 0.5, corrector="none"),
    "gfnff-2": _gfnff(4, 0.5),
}

BATCHED = {
    "kstep-2": (4, 0.5, "impulse"),
    "plain": (8, 0.25, "impulse"),
    "potential-only-2": (4, 0.5, "none"),
}
"""Methods that can run on all molecules at once: k, base step in fs, corrector."""


def run(name: str, key: str, picoseconds: float) -> dict[str, Any]:
    """One molecule, one method: the energies every 4 fs and what they cost."""
    torch.set_num_threads(1)
    method = METHODS[key]
    atoms = thermalized(name)
    counter = CountingCalculator(xtb_calculator("GFN2-xTB"))
    atoms.calc = counter
    dynamics = method.build(atoms)
    times: list[float] = []
    energies: list[float] = []

    def sample() -> None:
        times.append(dynamics.get_time())
        energies.append(atoms.get_total_energy())

    dynamics.attach(sample, interval=round(SAMPLE_FS / method.stride_fs))
    dynamics.run(1)  # compiles, before the clock starts
    began = time.perf_counter()
    dynamics.run(round(1000 * picoseconds / method.stride_fs) - 1)
    seconds = time.perf_counter() - began
    drift = energy_drift(np.array(times), np.array(energies), len(atoms))
    row: dict[str, Any] = {
        "molecule": name,
        "method": key,
        "stride_fs": method.stride_fs,
        "picoseconds": picoseconds,
        "drift_meV_per_atom_per_ps": drift.drift,
        "fluctuation_meV_per_atom": drift.fluctuation,
        "largest_deviation_meV_per_atom": 1e3 * float(np.ptp(np.array(energies))) / len(atoms),
        "evaluations": counter.evaluations,
        "strides": dynamics.nsteps,
        "seconds": seconds,
        "physics_seconds": counter.seconds,
    }
    if isinstance(dynamics, KStepDynamics):
        stats = dynamics.stats
        row["residual_meV_per_A"] = 1e3 * (stats.residual_rms or 0.0)
        row["fallbacks"] = stats.fallbacks
        row["jump_seconds"] = stats.jump_seconds
    return row


def run_batch(key: str, names: list[str], picoseconds: float) -> list[dict[str, Any]]:
    """Several molecules at once, with the same step as :func:`run`; no times of their own."""
    k, base, corrector = BATCHED[key]
    molecules = [thermalized(name) for name in names]
    model = load_model(MODEL, device="cpu", compile=True)
    began = time.perf_counter()
    times, energies, found = run_nve(molecules, model, k, base, picoseconds, corrector, SAMPLE_FS)
    seconds = time.perf_counter() - began
    rows = []
    for i, (name, atoms, row) in enumerate(zip(names, molecules, found, strict=True)):
        drift = energy_drift(times, energies[:, i], len(atoms))
        rows.append(
            {
                "molecule": name,
                "method": key,
                "batch_of": len(names),
                "stride_fs": k * base,
                "picoseconds": picoseconds,
                "drift_meV_per_atom_per_ps": drift.drift,
                "fluctuation_meV_per_atom": drift.fluctuation,
                "largest_deviation_meV_per_atom": 1e3 * float(np.ptp(energies[:, i])) / len(atoms),
                "strides": round(1000 * picoseconds / (k * base)),
                "seconds": seconds / len(names),
                **row,
            }
        )
    return rows


def by_size(names: list[str]) -> list[list[str]]:
    """Molecules in groups of similar size, so that little of a batch is padding."""
    groups: dict[int, list[str]] = {}
    for name in names:
        size = len(named_molecule(name))
        groups.setdefault(next(s for s in (6, 9, 12, 18, 10**6) if size <= s), []).append(name)
    return list(groups.values())


def _task(job: tuple[str, str, float, Path]) -> str:
    name, key, picoseconds, cache = job
    path = cache / f"{name}.{key}.json"
    try:
        row = run(name, key, picoseconds)
    except Exception as error:  # noqa: BLE001  (one run's failure is a result)
        row = {"molecule": name, "method": key, "error": f"{type(error).__name__}: {error}"}
    write_text_atomically(path, json.dumps(row))
    return f"{path.stem}: {row.get('error', '')}"


def report(cache: Path) -> None:
    """Gather the runs into one result."""
    rows = [json.loads(path.read_text()) for path in sorted(cache.glob("*.json"))]
    summary: dict[str, Any] = {}
    for key in METHODS:
        mine = [row for row in rows if row["method"] == key]
        done = [row for row in mine if "error" not in row]
        if not done:
            continue
        drifts = [row["drift_meV_per_atom_per_ps"] for row in done]
        summary[key] = {
            "molecules": len(done),
            "failed": [row["molecule"] for row in mine if "error" in row],
            "fluctuation_meV_per_atom": percentiles(
                [row["fluctuation_meV_per_atom"] for row in done]
            ),
            "abs_drift_meV_per_atom_per_ps": percentiles([abs(d) for d in drifts]),
            "signed_mean_drift_meV_per_atom_per_ps": float(np.mean(drifts)),
            "evaluations_per_ps": float(
                np.mean([row["evaluations"] / row["picoseconds"] for row in done])
            ),
            "picoseconds": sorted({row["picoseconds"] for row in done}),
            "fallbacks": sum(row.get("fallbacks", 0) for row in done),
        }
        print(key, json.dumps(summary[key]))
    write_result("nve", {"what": __doc__, "summary": summary, "rows": rows})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--methods", nargs="+", default=["verlet-1", "kstep-2", "plain"])
    parser.add_argument("--molecules", nargs="+", default=named_molecules())
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", action="store_true", help="all molecules as one state")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        report(arguments.cache)
        return
    jobs = [
        (name, key, arguments.picoseconds, arguments.cache)
        for name in arguments.molecules
        for key in arguments.methods
        if name in (METHODS[key].molecules or (name,))
        and not (arguments.cache / f"{name}.{key}.json").exists()
    ]
    if arguments.batch:
        for key in arguments.methods:
            for group in by_size([name for name, method, *_ in jobs if method == key]):
                for row in run_batch(key, group, arguments.picoseconds):
                    path = arguments.cache / f"{row['molecule']}.{key}.json"
                    path.write_text(json.dumps(row))
        return
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for done, line in enumerate(pool.imap_unordered(_task, jobs, chunksize=1), 1):
            print(f"{done}/{len(jobs)} {line}", flush=True)


if __name__ == "__main__":
    main()
