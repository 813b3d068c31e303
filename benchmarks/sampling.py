"""Exact sampling of real forces, 300 K: Metropolized jumps against Langevin dynamics.

    python -m benchmarks.sampling CACHE [--molecules ethanol] [--kinds full langevin]
    python -m benchmarks.sampling CACHE --report

Runs are kept in the folder CACHE, one file each, and go on where they ended. Each is eight replicas
that are independent of each other, from starting points of their own. The physics is GFN2-xTB, the
potential `organic-gfn2`. The jumps have the corrector `none` and a base step of 0.5 fs, and ask for
energies only; Langevin is BAOAB at 0.5 fs. "full" draws momenta anew at every jump, without extra
chances; "jitter" the same with strides of random length; "partial" and "kinetics" (ethanol) have a
friction and three extra chances. Evaluations are counted inside the calculators.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.common import write_result
from benchmarks.kinetics import kinetics_report
from benchmarks.sampling_report import molecule_report
from benchmarks.sampling_runs import Plan, load, make
from kstep_integrators import load_model, named_molecule

KINDS = ("full", "jitter", "partial", "langevin", "pilot", "kinetics")
MOLECULES = ("ethanol", "malonaldehyde")
JUMPS = {50.0: 400, 20.0: 500, 8.0: 600, 100.0: 300}
"""Number of jumps by stride in fs."""
FRICTIONS = (30.0, 100.0, 10.0)
"""Per picosecond, of Langevin. On the network alone ("pilot", ethanol) the potential energy forgets
fastest at 100 of 10, 30, 100 and 300, the torsions at 30."""
STEPS = 6_000
PARTIAL = (8.0, 20.0)
"""Strides that are also run with partial refreshment, at the friction best for torsions, with three
extra chances."""
JITTER = 0.5
"""Strides of 25 to 75 fs. A vibration of which a whole number of half periods fits into equal
strides comes back to where it was, whatever its momentum."""
WEAK = 1.0
"""Friction per picosecond where dynamics is looked at."""


def plans(name: str, kind: str) -> list[Plan]:
    """The runs of a molecule, those that tell most first."""
    if kind == "langevin":
        return [
            Plan(name, "langevin", 4 + seed, STEPS, friction)
            for seed, friction in enumerate(FRICTIONS)
        ]
    if kind == "partial":
        return [
            Plan(name, "jumps", 7 + seed, JUMPS[stride], FRICTIONS[0], stride, chances=3)
            for seed, stride in enumerate(PARTIAL)
        ]
    if kind == "jitter":
        return [Plan(name, "jumps", 12, JUMPS[50.0], math.inf, 50.0, jitter=JITTER)]
    if kind == "kinetics" and name != "ethanol":
        return []
    if kind == "pilot":
        return [Plan(name, "pilot", 0, STEPS, friction) for friction in (*FRICTIONS, 300.0)]
    if kind == "kinetics":
        return [
            Plan(name, "jumps", 9, 750, WEAK, 8.0, chances=3),
            Plan(name, "langevin", 10, STEPS, WEAK),
            Plan(name, "jumps", 11, 2500, WEAK, 2.0, chances=3),
        ]
    return [
        Plan(name, "jumps", seed, jumps, math.inf, stride)
        for seed, (stride, jumps) in enumerate(JUMPS.items())
    ]


def report(cache: Path, molecules: list[str]) -> None:
    """Gather the runs into one result."""
    rows = []
    for name in molecules:
        chosen = [plan for kind in KINDS[:5] for plan in plans(name, kind)]
        rows.append(molecule_report(name, named_molecule(name), chosen, cache))
    result = {"what": __doc__, "physics": "GFN2-xTB", "molecules": rows}
    paths = [cache / plan.file for plan in plans("ethanol", "kinetics")]
    runs = [load(path) for path in paths if path.exists()]
    if any(run.plan.kind == "langevin" for run in runs):
        result["kinetics"] = kinetics_report("ethanol", named_molecule("ethanol"), runs)
    write_result("sampling", result)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES), choices=MOLECULES)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--strides", nargs="+", type=float, help="of jumps, fs; all by default")
    parser.add_argument(
        "--part", type=float, default=1.0, help="of the planned lengths; a later call goes on"
    )
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.report:
        report(arguments.cache, arguments.molecules)
        return
    model = load_model("organic-gfn2", compile=True)
    for name in arguments.molecules:
        for kind in arguments.kinds:
            for plan in plans(name, kind):
                if arguments.strides and plan.stride_fs not in (0.0, *arguments.strides):
                    continue
                length = round(arguments.part * plan.length)
                make(replace(plan, length=length), named_molecule(name), model, arguments.cache)


if __name__ == "__main__":
    main()
