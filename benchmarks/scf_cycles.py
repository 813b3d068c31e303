"""SCF cycles per call along a trajectory, by stride and by how the density is guessed.

python -m benchmarks.scf_cycles [--molecule ethanol] [--method hf | --xc b3lyp] [--basis def2-svp]

The geometries are those of a GFN2 trajectory of 0.25 fs steps, so that every guess is asked for the
same ones. Energies only: the gradient does not depend on the guess.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet
from tqdm import tqdm

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators.calculators import PySCFCalculator

GUESSES = ("atomic", "last", "aspc", "extrapolate")
STRIDES_FS = (0.25, 1.0, 2.0, 4.0, 8.0)
BASE_FS = 0.25


def main() -> None:
    """Make the trajectory once, then follow it with every guess at every stride."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecule", default="ethanol")
    parser.add_argument("--xc")
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--grid-level", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--result", default="scf_cycles")
    arguments = parser.parse_args()
    method = {"method": "hf"} if arguments.xc is None else {"xc": arguments.xc}
    atoms = thermalized(arguments.molecule)
    dynamics = VelocityVerlet(atoms, BASE_FS * units.fs)
    frames: list[Any] = []
    dynamics.attach(lambda: frames.append(atoms.get_positions()))
    dynamics.run(round(arguments.steps * max(STRIDES_FS) / BASE_FS))
    rows = []
    for stride in STRIDES_FS:
        every = round(stride / BASE_FS)
        for guess in GUESSES:
            calculator = PySCFCalculator(
                **method,
                basis=arguments.basis,
                grid_level=arguments.grid_level,
                guess=guess,
                device="cpu",
            )
            moving = atoms.copy()
            moving.calc = calculator
            cycles = []
            path = frames[::every][: arguments.steps + 1]
            for positions in tqdm(path, desc=f"{stride:g} fs, {guess}"):
                moving.positions = positions
                moving.get_potential_energy()
                cycles.append(calculator.last_call.scf_cycles)
            rows.append(
                {
                    "stride_fs": stride,
                    "guess": guess,
                    "cycles_per_call": float(np.mean(cycles[1:])),
                    "cycles_per_call_after_20": float(np.mean(cycles[20:])),
                    "retries": calculator.totals.retries,
                    "scf_seconds": calculator.totals.scf_seconds,
                }
            )
            write_result(
                arguments.result,
                {
                    "molecule": arguments.molecule,
                    "physics": f"{arguments.xc or 'hf'}/{arguments.basis}",
                    "grid_level": arguments.grid_level if arguments.xc else None,
                    "conv_tol_hartree": calculator.settings.conv_tol,
                    "steps": arguments.steps,
                    "rows": rows,
                },
            )


if __name__ == "__main__":
    main()
