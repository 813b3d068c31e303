"""Sampling."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
from pathlib import Path

import torch

from benchmarks.sampling_runs import Plan, make
from kstep_integrators import load_model, named_molecule

MOLECULES = ("ethanol", "malonaldehyde")
JUMPS = {50.0: 400, 20.0: 500, 8.0: 600, 100.0: 300}
"""Number of jumps by stride in fs."""
FRICTIONS = (30.0, 100.0, 10.0)
"""Per picosecond, of Langevin. On the network alone (a pilot of 3 ps, ethanol) the potential energy
forgets fastest at 100 of 10, 30, 100 and 300, the torsions at 30."""
STEPS = 6_000
PARTIAL = (8.0, 20.0)
"""Strides that are also run with partial refreshment, at the friction best for torsions, with three
extra chances."""


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
    return [
        Plan(name, "jumps", seed, jumps, math.inf, stride)
        for seed, (stride, jumps) in enumerate(JUMPS.items())
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES))
    parser.add_argument("--kinds", nargs="+", default=["full", "langevin", "partial"])
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = load_model("organic-gfn2", compile=True)
    for name in arguments.molecules:
        for kind in arguments.kinds:
            for plan in plans(name, kind):
                make(plan, named_molecule(name), model, arguments.cache)


if __name__ == "__main__":
    main()
