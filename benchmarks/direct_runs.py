"""Hybrid runs of direct jumps beside velocity Verlet and the flow jump at the same strides.

    python -m benchmarks.direct_runs qm CACHE --data qm_data --dataset dataset \
        --models direct.safetensors
    python -m benchmarks.direct_runs mm CACHE --data mm_data --dataset dataset --prepared mm_prep \
        --models direct.safetensors
    python -m benchmarks.direct_runs qm CACHE ... --report

Runs are kept in the folder CACHE, one file each, and never made twice. Every method starts from the
same frames of reference trajectories that were not trained on and covers the same simulated time,
at constant energy and under Langevin; reference: velocity Verlet at the base step of ``--base``.
All of them run in ``KStepDynamics`` under the default guard, so that a stride undone is a fallback
for every method, Verlet included. Bonds and angles are compared run by run with those of the
reference under Langevin (permutation test; the noise floor is the distance between relabelled
runs). Evaluations are counted inside the calculator.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import multiprocessing
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import write_result
from benchmarks.direct_runs_report import REFERENCE, Job, keep, row_of, summary
from benchmarks.one_jump import FLOWS, STRIDES
from benchmarks.references import Reference, read_references
from benchmarks.verlet_jump import VerletJump
from kstep_integrators import DynamicsFailed, FlowJump, KStepDynamics, load_model
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.units import FS, MEV, PS

ENSEMBLES = ("nve", "langevin")
BASES = {"qm": 0.5, "mm": 2.0}
FRAME_FS = 16.0
"""Between frames, or one stride where that is longer."""


def jump_of(job: Job, timestep_fs: float, arguments: argparse.Namespace) -> tuple[Jump, int]:
    """The jump of a run, and k."""
    if job.method == REFERENCE:
        return VerletJump(arguments.base * FS), 1
    name, _, k = job.method.rpartition("-")
    if name == "verlet":
        return VerletJump(timestep_fs * FS), int(k)
    if name.startswith("flow "):
        model = load_model(_by_stem(arguments.flow, name.removeprefix("flow ")), device="cpu")
        if isinstance(model, DirectJump):
            raise ValueError(f"{name} makes direct jumps; give it with --models")
        return FlowJump(model, timestep_fs * FS), int(k)
    direct = load_model(_by_stem(arguments.models, name), device="cpu")
    if not isinstance(direct, DirectJump):
        raise ValueError(f"{name} is a potential; give it with --flow")
    return direct, int(k)


def _by_stem(paths: list[str], stem: str) -> str:
    return next(path for path in paths if Path(path).stem == stem)


def run(job: Job, reference: Reference, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run: frames and counts; what failed keeps what it has."""
    frames = np.concatenate(reference.segments)
    row = frames[round(job.start * (len(frames) - 1) / max(1, arguments.starts - 1))]
    atoms = reference.atoms.copy()
    atoms.positions[:] = row["positions"]
    atoms.set_velocities(row["velocities"])
    counter = CountingCalculator(reference.calculator())
    atoms.calc = counter
    jump, k = jump_of(job, reference.timestep_fs, arguments)
    bath: dict[str, Any] = {}
    if job.ensemble == "langevin":
        friction = arguments.friction / PS
        bath = {"temperature_K": arguments.temperature, "friction": friction}
    dynamics = KStepDynamics(
        atoms, jump, k=k, rng=np.random.default_rng([job.start, *job.molecule.encode()]), **bath
    )
    stride_fs = k * jump.timestep / FS
    found: dict[str, list[Any]] = {name: [] for name in ("x", "p", "conserved", "time")}

    def sample() -> None:
        found["x"].append(atoms.get_positions())
        found["p"].append(atoms.get_momenta())
        found["conserved"].append(dynamics.get_conserved_energy())
        found["time"].append(dynamics.get_time())

    dynamics.attach(sample, interval=max(1, round(FRAME_FS / stride_fs)))
    began, error = time.perf_counter(), ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bonds that break are counted
        try:
            dynamics.run(round(1000.0 * arguments.picoseconds / stride_fs))
        except DynamicsFailed as failure:
            error = str(failure)
    stats = dynamics.stats
    facts = {
        "stride_fs": stride_fs,
        "picoseconds": dynamics.get_time() / PS,
        "strides": stats.jumps,
        "evaluations": counter.evaluations,
        "fallbacks": stats.fallbacks,
        "bond_changes": stats.bond_changes,
        "last_problem": stats.last_problem,
        "residual_meV_per_A": None if stats.residual_rms is None else stats.residual_rms / MEV,
        "seconds": time.perf_counter() - began,
        "physics_seconds": counter.seconds,
        "error": error,
    }
    return {**{name: np.array(values) for name, values in found.items()}, "facts": facts}


_SHARED: dict[str, Any] = {}
"""References and arguments of a worker."""


def _load(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    _SHARED["arguments"] = arguments
    _SHARED["references"] = {r.name: r for r in _references(arguments)}


def _references(arguments: argparse.Namespace) -> list[Reference]:
    return read_references(
        arguments.data,
        arguments.temperature,
        arguments.dataset,
        arguments.prepared,
        arguments.molecules,
    )


def _task(job: Job) -> str:
    arguments = _SHARED["arguments"]
    made = run(job, _SHARED["references"][job.molecule], arguments)
    facts = keep(job, arguments.cache, made)
    return f"{job}: {facts['seconds']:.0f} s, {facts['fallbacks']} fallbacks {facts['error']}"


def methods(reference: Reference, arguments: argparse.Namespace) -> list[str]:
    """Keys of all methods."""
    found = [REFERENCE]
    for k in arguments.strides:
        found.append(f"verlet-{k}")
        found += [f"flow {Path(name).stem}-{k}" for name in arguments.flow]
        for name in arguments.models:
            model = load_model(name, device="cpu")
            if not isinstance(model, DirectJump) or k in model.allowed_k:
                found.append(f"{Path(name).stem}-{k}")
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("qm", "mm"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, help="starts are not from its training part")
    parser.add_argument("--prepared", nargs="*", type=Path, default=[])
    parser.add_argument("--models", nargs="*", default=[], help="model files of direct jumps")
    parser.add_argument("--flow", nargs="*", help="model files or names of flows")
    parser.add_argument("--strides", nargs="+", type=int)
    parser.add_argument("--base", type=float, help="step of the reference, fs")
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--friction", type=float, default=2.0, help="per ps")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--molecules", nargs="*", default=[])
    parser.add_argument("--ensembles", nargs="+", choices=ENSEMBLES, default=list(ENSEMBLES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.flow = FLOWS[arguments.kind] if arguments.flow is None else arguments.flow
    arguments.strides = arguments.strides or STRIDES[arguments.kind]
    arguments.base = arguments.base or BASES[arguments.kind]
    arguments.cache.mkdir(parents=True, exist_ok=True)
    references = _references(arguments)
    jobs = [
        Job(reference.name, method, ensemble, start)
        for reference in references
        for method in methods(reference, arguments)
        for ensemble in arguments.ensembles
        for start in range(arguments.starts)
    ]
    if not arguments.report:
        todo = [job for job in jobs if not job.path(arguments.cache).exists()]
        with multiprocessing.get_context("spawn").Pool(
            arguments.workers, initializer=_load, initargs=(arguments,)
        ) as pool:
            for done, line in enumerate(pool.imap_unordered(_task, todo, chunksize=1), 1):
                print(f"{done}/{len(todo)} {line}", flush=True)
    rows = [
        row
        for reference in references
        for method in methods(reference, arguments)
        for ensemble in arguments.ensembles
        if (row := row_of(reference, method, ensemble, arguments)) is not None
    ]
    details = {
        "what": __doc__,
        "temperature_K": arguments.temperature,
        "reference_fs": arguments.base,
        "friction_per_ps": arguments.friction,
        "starts": arguments.starts,
        "models": {
            Path(name).name: load_model(name, device="cpu").describe()
            for name in (*arguments.models, *arguments.flow)
        },
    }
    write_result(
        f"direct_runs_{arguments.kind}", {**details, "summary": summary(rows), "rows": rows}
    )


if __name__ == "__main__":
    main()
