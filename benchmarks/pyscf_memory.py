"""Five hundred calls of the PySCF calculator in one process: memory at the start and at the end.

python -m benchmarks.pyscf_memory [--calls 500]
"""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path

import numpy as np
from tqdm import trange

from benchmarks.common import write_result
from kstep_integrators import named_molecule
from kstep_integrators.calculators import PySCFCalculator


def resident_MiB() -> float:
    """Memory of this process that is in RAM (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Forces at random displacements about one geometry, with and without density fitting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--molecule", default="water")
    arguments = parser.parse_args()
    rows = []
    for settings in (
        {"xc": "b3lyp", "basis": "def2-svp"},
        {"xc": "b3lyp", "basis": "def2-svp", "density_fit": True, "solvent": "water"},
    ):
        rng = np.random.default_rng(0)
        atoms = named_molecule(arguments.molecule)
        still = atoms.get_positions()
        atoms.calc = PySCFCalculator(**settings, grid_level=1, device="cpu")
        used: dict[str, float] = {}
        for call in trange(1, arguments.calls + 1):
            atoms.positions = still + rng.normal(0.0, 0.03, still.shape)
            atoms.get_forces()
            # The history is full after 20 calls: what comes later is a leak.
            if call in (1, 25, 50, 100, arguments.calls // 2, arguments.calls):
                gc.collect()
                used[str(call)] = resident_MiB()
        rows.append(
            {
                "settings": settings,
                "resident_MiB_after_calls": used,
                "open_files": len(list(Path("/proc/self/fd").iterdir())),
            }
        )
    write_result(
        "pyscf_memory", {"molecule": arguments.molecule, "calls": arguments.calls, "rows": rows}
    )


if __name__ == "__main__":
    main()
