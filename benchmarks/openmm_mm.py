"""MM runs in OpenMM: direct jumps on constrained bonds, and flow jumps, beside velocity Verlet.

    python -m benchmarks.openmm_mm direct CACHE --data mm_data --prepared mm_prep \
        --dataset dataset --model direct.safetensors
    python -m benchmarks.openmm_mm flow CACHE --data mm_data --prepared mm_prep \
        --dataset dataset --model flow.safetensors
    python -m benchmarks.openmm_mm ... --report

``direct``: bonds with hydrogen fixed, base step 2 fs, k = 4, 8, 12, under ``KStepIntegrator``.
``flow``: nothing fixed, base step 0.5 fs; strides of 2 and 4 fs with impulses, filtered, and with
the potential alone; of 50 fs with a Metropolis test (only under Langevin, where it belongs).
Reference: velocity Verlet at the base step. Controls at every stride: velocity Verlet, which is
also what the corrector does without a jump, and free flight (``ballistic``). All under the same
Langevin scheme (OBABO) for NVT, or none, on the Reference platform, from velocities drawn and
equilibrated at the base step. Controls have no guard: they are lost where they explode. Runs are
kept in CACHE, one file each, and never made twice. Distributions, temperatures and drifts are those
of ``benchmarks.direct_runs``; evaluations are counted by the integrator, seconds are those of the
processor in the steps alone, on one thread. A
force field costs less than a network: the seconds say by how much.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from openmm import unit

from benchmarks.common import write_result
from benchmarks.direct_runs_report import REFERENCE, Job, keep, row_of, summary
from benchmarks.references import Reference, read_references
from kstep_integrators import load_model, units
from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.openmm.jump import find_jump

ENSEMBLES = ("nve", "langevin")
BASES = {"direct": 2.0, "flow": 0.5}
FRAME_FS = 16.0
"""Between frames, or one stride where that is longer."""
BURN_IN_PS = 2.0
STRIDES = {"direct": (4, 8, 12), "flow": (4, 8, 100)}
FLOWS = {4: ("impulse", "none"), 8: ("impulse", "filtered", "none"), 100: ("metropolized",)}
"""Flows at each stride: the corrector, or Metropolized jumps without one."""


def verlet(step_ps: float, temperature: float, friction: float, kicks: bool = True) -> Any:
    """Velocity Verlet (RATTLE), half a step of Langevin before and after; or free flight."""
    made = openmm.CustomIntegrator(step_ps)
    made.addGlobalVariable("a", float(np.exp(-0.5 * friction * step_ps)))
    made.addGlobalVariable("kT", temperature * units.KB / units.KJ_PER_MOL)
    made.addPerDofVariable("free", 0)

    def bath() -> None:
        if friction > 0:
            made.addComputePerDof("v", "a*v + sqrt((1-a*a)*kT/m)*gaussian")
            made.addConstrainVelocities()

    bath()
    if kicks:
        made.addComputePerDof("v", "v + 0.5*dt*f/m")
    made.addComputePerDof("x", "x + dt*v")
    made.addComputePerDof("free", "x")
    made.addConstrainPositions()
    made.addComputePerDof("v", "v + (x - free)/dt")
    if kicks:
        made.addComputePerDof("v", "v + 0.5*dt*f/m")
    made.addConstrainVelocities()
    bath()
    made.setConstraintTolerance(1e-9)
    return made


def methods(kind: str) -> list[str]:
    """Keys of all methods: name-k."""
    found = [REFERENCE]
    for k in STRIDES[kind]:
        mine = ["direct"] if kind == "direct" else [f"flow {name}" for name in FLOWS[k]]
        found += [f"{name}-{k}" for name in (*mine, "verlet", "ballistic")]
    return found


def able(method: str, ensemble: str) -> bool:
    """Whether there is such a run."""
    return ensemble == "langevin" or not method.startswith("flow metropolized")


def integrator_of(
    job: Job, system: openmm.System, arguments: argparse.Namespace
) -> tuple[Any, float]:
    """The integrator of a run, and its stride in fs."""
    friction = arguments.friction if job.ensemble == "langevin" else 0.0
    base = BASES[arguments.kind]
    name, _, k = job.method.rpartition("-")
    if job.method == REFERENCE or name in ("verlet", "ballistic"):
        stride = base * int(k if name else 1)
        made = verlet(stride / 1000, arguments.temperature, friction, kicks=name != "ballistic")
        return made, stride
    bath: dict[str, Any] = {}
    if friction > 0:
        bath = {"temperature": arguments.temperature, "friction": friction}
    corrector = name.removeprefix("flow ") if name.startswith("flow ") else None
    if corrector == "metropolized":
        bath, corrector = {**bath, "metropolize": True}, "none"
    model = load_model(arguments.model, device="cpu", compile=arguments.compile)
    timestep = base * unit.femtosecond
    return KStepIntegrator(system, model, int(k), timestep, corrector, **bath), base * int(k)


def run(job: Job, reference: Reference, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run: frames and counts; what failed keeps what it has."""
    system = openmm.XmlSerializer.clone(reference.system)
    if arguments.kind == "flow":
        for index in reversed(range(system.getNumConstraints())):
            system.removeConstraint(index)
    seed = int(np.random.default_rng([job.start, *job.molecule.encode()]).integers(1, 2**31 - 1))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = _equilibrated(reference, system, job, arguments, seed, platform)
    start = context.getState(positions=True, velocities=True)
    integrator, stride_fs = integrator_of(job, system, arguments)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(start.getPositions())
    v = start.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    masses = reference.atoms.get_masses()[:, None]
    if job.ensemble == "nve":
        v = v - (masses * v).sum(0) / masses.sum()
    context.setVelocities(v)
    jumps = isinstance(integrator, KStepIntegrator)
    physics = set(range(32)) - {_group(system)}
    every = max(1, round(FRAME_FS / stride_fs))
    strides = round(1000.0 * arguments.picoseconds / stride_fs)
    found: dict[str, list[Any]] = {name: [] for name in ("x", "p", "conserved", "time")}
    error, seconds, done = "", 0.0, 0
    while done < strides:
        began = time.process_time()
        try:
            integrator.step(min(every, strides - done))
        except openmm.OpenMMException as failure:
            error = str(failure)
            break
        seconds += time.process_time() - began
        done += min(every, strides - done)
        state = context.getState(
            positions=True, velocities=True, energy=job.ensemble == "nve", groups=physics
        )
        x = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        v = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        energy = np.nan
        if job.ensemble == "nve":
            energy = units.KJ_PER_MOL * (
                state.getPotentialEnergy() + state.getKineticEnergy()
            ).value_in_unit(unit.kilojoule_per_mole)
        if not np.isfinite(x).all() or np.abs(v).max() > 1e3:
            error = f"positions or velocities are not finite after {done * stride_fs:g} fs"
            break
        found["x"].append(x)
        found["p"].append(masses * v * units.NM_PER_PS)
        found["conserved"].append(energy)
        found["time"].append(done * stride_fs * units.FS)
    stats = integrator.stats if jumps else None
    facts = {
        "stride_fs": stride_fs,
        "picoseconds": done * stride_fs / 1000,
        "strides": done,
        "evaluations": stats.physics_evaluations if stats else done + 1,
        "fallbacks": stats.fallbacks if stats else 0,
        "accepted": stats.accepted if stats else 0,
        "bond_changes": stats.bond_changes if stats else 0,
        "last_problem": None,
        "residual_meV_per_A": stats.residual_rms / units.MEV
        if stats and stats.residual_rms
        else None,
        "seconds": seconds,
        "error": error,
    }
    return {**{name: np.array(values) for name, values in found.items()}, "facts": facts}


def _group(system: openmm.System) -> int:
    jump = find_jump(system)
    return 32 if jump is None else int(system.getForce(jump).getForceGroup())


def _equilibrated(
    reference: Reference, system: openmm.System, job: Job, arguments: argparse.Namespace,
    seed: int, platform: Any,
) -> openmm.Context:  # fmt: skip
    """A frame of the data, velocities drawn anew, and some Langevin dynamics at the base step."""
    base = BASES[arguments.kind] / 1000
    begin = verlet(base, arguments.temperature, 10.0)
    begin.setRandomNumberSeed(seed)
    context = openmm.Context(system, begin, platform)
    rows = np.concatenate(reference.segments)
    row = rows[round(job.start * (len(rows) - 1) / max(1, arguments.starts - 1))]
    context.setPositions(row["positions"] / units.NM)
    context.applyConstraints(1e-9)
    context.setVelocitiesToTemperature(arguments.temperature, seed)
    begin.step(round(BURN_IN_PS / base))
    return context


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(BASES))
    parser.add_argument("cache", type=Path)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--prepared", nargs="+", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, help="starts are not from its training part")
    parser.add_argument("--model", required=True)
    parser.add_argument("--compile", action="store_true", help="the forces of a flow")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--friction", type=float, default=2.0, help="per ps")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--molecules", nargs="*", default=[])
    parser.add_argument("--ensembles", nargs="+", choices=ENSEMBLES, default=list(ENSEMBLES))
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    references = read_references(
        arguments.data,
        arguments.temperature,
        arguments.dataset,
        arguments.prepared,
        arguments.molecules,
    )
    # The model says itself what it was trained on; the dataset may be that of another.
    model = load_model(arguments.model, device="cpu")
    trained = model.header.training["molecules"]
    references = [dataclasses.replace(r, trained=r.name in trained) for r in references]
    for reference in references:
        if arguments.kind == "flow":
            reference.atoms.set_constraint()
    # A start of every method first: a benchmark that is cut off has something of each.
    jobs = [
        (reference, Job(reference.name, method, ensemble, start))
        for start in range(arguments.starts)
        for reference in references
        for method in methods(arguments.kind)
        for ensemble in arguments.ensembles
        if able(method, ensemble)
    ]
    todo = [] if arguments.report else [j for j in jobs if not j[1].path(arguments.cache).exists()]
    for number, (reference, job) in enumerate(todo, 1):
        facts = keep(job, arguments.cache, run(job, reference, arguments))
        print(f"{number}/{len(todo)} {job}: {facts['seconds']:.1f} s {facts['error']}", flush=True)
    rows = [
        {**row, "seconds_per_ps": row["seconds"] / max(row["picoseconds"], 1e-9)}
        for reference in references
        for method in methods(arguments.kind)
        for ensemble in arguments.ensembles
        if (row := row_of(reference, method, ensemble, arguments)) is not None
    ]
    write_result(
        f"openmm_mm_{arguments.kind}",
        {
            "what": __doc__,
            "temperature_K": arguments.temperature,
            "reference_fs": BASES[arguments.kind],
            "friction_per_ps": arguments.friction,
            "starts": arguments.starts,
            "model": model.describe(),
            "summary": summary(rows),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
