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
JUMPS = {8.0: 600, 20.0: 500, 50.0: 400, 100.0: 300}
"""Number of jumps by stride in fs."""


def plans(name: str) -> list[Plan]:
    full = [
        Plan(name, "jumps", seed, JUMPS[stride], math.inf, stride)
        for seed, stride in enumerate((50.0, 20.0, 8.0, 100.0))
    ]
    return full


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES))
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = load_model("organic-gfn2", compile=True)
    for name in arguments.molecules:
        for plan in plans(name):
            make(plan, named_molecule(name), model, arguments.cache)


if __name__ == "__main__":
    main()
