"""Replicas of ethanol at GFN2: what a stride of one replica costs, alone and in a batch.

    python -m benchmarks.ensemble [--strides 60]

Jumps of four base steps of 0.5 fs on the compiled bundled network; wall-clock seconds of jumps and
of physics, over strides and replicas, after three strides that are not timed, and the processor
time of the main process, which is jumps, physics and all else for one worker, and all but the
physics for more. The runs of all kinds are cut into blocks and taken in turns; the median of the
blocks is given, and the load of the machine with it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
from typing import Any

from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import thermalize_momenta
from numpy.random import default_rng

from benchmarks.common import write_result
from kstep_integrators import Ensemble, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator

WARM_UP = 3
BLOCKS = 4
KINDS = ((1, 1), (4, 1), (16, 1), (16, 2))
"""Replicas, workers."""


def gfn2(atoms: Atoms) -> Calculator:
    """The physics of a replica."""
    return xtb_calculator("GFN2-xTB")


def replicas(count: int) -> list[Atoms]:
    """Ethanol at its minimum, with momenta of 300 K."""
    made = [named_molecule("ethanol") for _ in range(count)]
    for seed, atoms in enumerate(made):
        thermalize_momenta(atoms, temperature_K=300, rng=default_rng(seed))
    return made


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strides", type=int, default=60)
    strides = parser.parse_args().strides
    model = load_model("organic-gfn2", device="cpu", compile=True)
    ensembles = {}
    for count, workers in KINDS:
        ensembles[count, workers] = Ensemble(
            replicas(count), model, gfn2, k=4, timestep=0.5 * units.fs, workers=workers
        )
        ensembles[count, workers].run(WARM_UP)
    load = [os.getloadavg()[0]]
    blocks: dict[tuple[int, int], list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    for _ in range(BLOCKS):
        for (count, workers), ensemble in ensembles.items():
            before, cpu = ensemble.result(), time.process_time()
            ensemble.run(strides // BLOCKS)
            cpu = time.process_time() - cpu
            after = ensemble.result()
            share = (strides // BLOCKS) * count
            blocks[count, workers].append(
                (
                    (after.jump_seconds - before.jump_seconds) / share,
                    (after.physics_seconds - before.physics_seconds) / share,
                    cpu / share,
                )
            )
    rows: list[dict[str, Any]] = []
    for (count, workers), ensemble in ensembles.items():
        found = ensemble.result()
        ensemble.close()
        jumps, physics, cpus = zip(*blocks[count, workers], strict=True)
        rows.append(
            {
                "replicas": count,
                "workers": workers,
                "jump_ms_per_replica_stride": 1e3 * statistics.median(jumps),
                "physics_ms_per_replica_stride": 1e3 * statistics.median(physics),
                "main_process_cpu_ms_per_replica_stride": 1e3 * statistics.median(cpus),
                "jump_ms_blocks": [1e3 * each for each in jumps],
                "physics_ms_blocks": [1e3 * each for each in physics],
                "cpu_ms_blocks": [1e3 * each for each in cpus],
                "evaluations": found.physics_evaluations,
                "failures": len(found.failures),
            }
        )
        print(rows[-1], flush=True)
    write_result(
        "ensemble",
        {"what": __doc__, "strides": strides, "load": [*load, os.getloadavg()[0]], "rows": rows},
    )


if __name__ == "__main__":
    main()
