"""Long strides at GFN2, 300 K: impulses against filtered kicks, ethanol.

    python -m benchmarks.filtered CACHE [--picoseconds 3] [--seeds 2]
    python -m benchmarks.filtered CACHE --report

Runs are kept in the folder CACHE, one file each, and never made twice. The base step is 0.5 fs, the
potential `organic-gfn2`; energies are the physics at the sampled positions, every 24 fs.
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
from ase import units
from ase.md.verlet import VelocityVerlet

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import DynamicsFailed, KStepDynamics, load_model
from kstep_integrators.correctors import Corrector, Filtered, Impulse, NoCorrection
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.testing import CountingCalculator

SAMPLE_FS = 24.0
BASE_FS = 0.5
STRIDES_FS = (2.0, 4.0, 6.0, 8.0)
METHODS: dict[str, Corrector | None] = {
    "verlet": None,
    "impulse": Impulse(),
    "quartic": Filtered("quartic"),
    "octic": Filtered("octic"),
    "none": NoCorrection(),
}
"""What corrects the jumps; None is velocity Verlet at the stride, without jumps."""


def run(method: str, stride: float, seed: int, picoseconds: float) -> dict[str, Any]:
    """One run: drift, fluctuation and what it cost."""
    torch.set_num_threads(1)
    atoms = thermalized("ethanol", seed=seed)
    counter = CountingCalculator(atoms.calc)
    atoms.calc = counter
    corrector = METHODS[method]
    dynamics: VelocityVerlet | KStepDynamics
    if corrector is None:
        dynamics = VelocityVerlet(atoms, stride * units.fs)
    else:
        model = load_model("organic-gfn2", device="cpu", compile=True)
        dynamics = KStepDynamics(
            atoms, model, round(stride / BASE_FS), BASE_FS * units.fs, corrector
        )
    times: list[float] = []
    energies: list[float] = []

    def sample() -> None:
        times.append(dynamics.get_time())
        energies.append(atoms.get_total_energy())

    dynamics.attach(sample, interval=round(SAMPLE_FS / stride))
    row: dict[str, Any] = {"method": method, "stride_fs": stride, "seed": seed}
    began = time.perf_counter()
    try:
        dynamics.run(round(1000 * picoseconds / stride))
    except DynamicsFailed as error:
        row["error"] = str(error)
    row["picoseconds"] = dynamics.get_time() / (1000 * units.fs)
    row["seconds"] = time.perf_counter() - began
    row["physics_seconds"] = counter.seconds
    row["evaluations"] = counter.evaluations
    if len(energies) > 2:
        drift = energy_drift(np.array(times), np.array(energies), len(atoms))
        row["drift_meV_per_atom_per_ps"] = drift.drift
        row["fluctuation_meV_per_atom"] = drift.fluctuation
    if isinstance(dynamics, KStepDynamics):
        row["fallbacks"] = dynamics.stats.fallbacks
        row["residual_meV_per_A"] = 1e3 * (dynamics.stats.residual_rms or 0.0)
        row["jump_seconds"] = dynamics.stats.jump_seconds
    return row


def report(cache: Path) -> None:
    """Gather the runs into one result."""
    rows = [json.loads(path.read_text()) for path in sorted(cache.glob("*.json"))]
    summary = []
    for method in METHODS:
        for stride in STRIDES_FS:
            mine = [r for r in rows if r["method"] == method and r["stride_fs"] == stride]
            if not mine:
                continue
            done = [r for r in mine if "error" not in r]
            entry = {"method": method, "stride_fs": stride, "runs": len(mine), "whole": len(done)}
            if done:
                drifts = [r["drift_meV_per_atom_per_ps"] for r in done]
                entry |= {
                    "picoseconds": done[0]["picoseconds"],
                    "abs_drift_meV_per_atom_per_ps": float(np.median(np.abs(drifts))),
                    "signed_mean_drift_meV_per_atom_per_ps": float(np.mean(drifts)),
                    "fluctuation_meV_per_atom": float(
                        np.median([r["fluctuation_meV_per_atom"] for r in done])
                    ),
                    "fallbacks": sum(r.get("fallbacks", 0) for r in done),
                    "evaluations_per_ps": float(
                        np.mean([r["evaluations"] / r["picoseconds"] for r in done])
                    ),
                    "jump_ms_per_stride": float(
                        1e3 * np.mean([r.get("jump_seconds", 0.0) / r["evaluations"] for r in done])
                    ),
                }
            print(json.dumps(entry))
            summary.append(entry)
    write_result("filtered", {"what": __doc__, "summary": summary, "rows": rows})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--strides", nargs="+", type=float, default=list(STRIDES_FS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--picoseconds", type=float, default=3.0)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        report(arguments.cache)
        return
    for seed in range(arguments.seeds):
        for stride in sorted(arguments.strides, reverse=True):
            for method in arguments.methods:
                path = arguments.cache / f"{method}.{stride:g}.{seed}.json"
                if path.exists() or (method == "verlet" and stride > STRIDES_FS[0]):
                    continue
                row = run(method, stride, seed, arguments.picoseconds)
                path.write_text(json.dumps(row))
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
