"""Kinetic energies and ensembles of every thermostat and corrector, by physical_validation.

python -m benchmarks.nvt CACHE [--only RUN ...]

Replicas of water, with Morse springs between all atoms and under GFN2-xTB. Each run is made at 300
K and at the temperature that physical_validation suggests; rows that CACHE holds are not made
again. Merz & Shirts, doi:10.1371/journal.pone.0202764.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import write_result
from benchmarks.list_physics import ListPhysics, joined
from kstep_integrators import load_model, named_molecule
from kstep_integrators.testing.baths import MORSE_RUNS, BathRun, morse_water, sample_energies
from kstep_integrators.testing.energies import (
    Samples,
    ensemble_check,
    kinetic_checks,
    suggested_temperature,
)

COLD = 300.0


def checked_alone(one: Samples) -> dict[str, Any]:
    """The checks of kinetic energies."""
    return {
        "temperatures_K": [one.temperature_K],
        "degrees_of_freedom": one.degrees,
        "samples_each": one.kinetic.size,
        "correlation_of_frames": one.correlation,
        "kinetic": [kinetic_checks(one)],
    }


def checked(one: Samples, other: Samples) -> dict[str, Any]:
    """Every check of a pair of runs."""
    return {
        **checked_alone(one),
        "temperatures_K": [one.temperature_K, other.temperature_K],
        "correlation_of_frames": max(one.correlation, other.correlation),
        "kinetic": [kinetic_checks(one), kinetic_checks(other)],
        "ensemble_potential_sigma": ensemble_check(one, other),
        "ensemble_total_sigma": ensemble_check(one, other, total=True),
        "ensemble_of_inner_potential_sigma": ensemble_check(one, other, inner=True),
        # What the checks see: the same data, with temperatures declared that are wrong by 5 %.
        "declared_5_percent_hotter": {
            "kinetic": kinetic_checks(one, off=1.05),
            "ensemble_potential_sigma": ensemble_check(one, other, off=1.05),
        },
    }


GFN2_RUNS = {
    "gfn2-langevin-impulse": BathRun("langevin", "impulse", False, 4, 0.5, 25, 20, 40, 8),
    "gfn2-langevin-none-metropolized": BathRun("langevin", "none", True, 18, 0.5, 6, 4, 40, 8),
}


def gfn2_water(run: BathRun, temperature: float, seed: int) -> Any:
    """GFN2-xTB, with the bundled network as the potential."""
    from kstep_integrators.calculators import xtb_calculator

    molecules = [named_molecule("water") for _ in range(run.replicas)]
    shared = xtb_calculator("GFN2-xTB")
    for atoms in molecules:
        atoms.calc = shared
    model = load_model("organic-gfn2", dtype=torch.float64)
    physics = ListPhysics(molecules)
    return sample_energies(run, temperature, joined(molecules), model, physics, seed)


SYSTEMS = {"water, Morse": (morse_water, MORSE_RUNS), "water, GFN2": (gfn2_water, GFN2_RUNS)}


def main() -> None:
    """Every system and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", nargs="+", help="make the rows of these runs, and no result yet")
    arguments = parser.parse_args()
    cache = arguments.cache
    cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for system, (make, runs) in SYSTEMS.items():
        for name, run in runs.items():
            if arguments.only and name not in arguments.only:
                continue
            path = cache / f"{name}.json"
            if not path.exists():
                began = time.perf_counter()
                row = {"system": system, "name": name, **dataclasses.asdict(run)}
                one, how = make(run, COLD, 1)
                if run.thermostat == "berendsen":
                    # Its energies at two temperatures do not even overlap.
                    row |= how | checked_alone(one)
                else:
                    other, again = make(run, suggested_temperature(one), 2)
                    row |= {key: [how[key], again[key]] for key in how} | checked(one, other)
                path.write_text(json.dumps(row | {"seconds": time.perf_counter() - began}))
            rows.append(json.loads(path.read_text()))
            print(rows[-1], flush=True)
    if not arguments.only:
        write_result("nvt", {"rows": rows})


if __name__ == "__main__":
    main()
