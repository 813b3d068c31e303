"""Exact ensembles: known ones, and thermostats by physical_validation."""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.references import CopiesPhysics
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import load_model, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.testing.baths import MORSE_RUNS, BathRun, morse_water, sample_energies
from kstep_integrators.testing.block_averages import deviate, expected_largest, family_limit
from kstep_integrators.testing.droplet import equilibrated, expected_from, reference
from kstep_integrators.testing.energies import (
    Samples,
    ensemble_check,
    kinetic_checks,
    suggested_temperature,
)
from kstep_integrators.testing.known_ensembles import SYSTEMS
from kstep_integrators.testing.sampling import compare, sample

SMALL = {"count": 256, "equilibration": 20, "strides": 300}
DROPLET = {"count": 64, "equilibration": 10, "strides": 250}
FILTERED_DROPLET = {"count": 64, "equilibration": 10, "strides": 100}
SMALL_ONES = ("quartic", "double well", "harmonic")
COLD = 300.0
GFN2_RUNS = {
    "gfn2-langevin-impulse": BathRun("langevin", "impulse", False, 4, 0.5, 25, 20, 40, 8),
    "gfn2-langevin-none-metropolized": BathRun("langevin", "none", True, 18, 0.5, 6, 4, 40, 8),
}


def _exact_run(name: str, corrector: str, chances: int, seed: int, written: Any) -> dict[str, Any]:
    """One system, corrector and number of extra chances."""
    system = SYSTEMS[name]()
    known, settings = dict(system.expected), SMALL
    if name == "LJ13":
        known |= expected_from(written)
        settings = FILTERED_DROPLET if corrector == "filtered" else DROPLET
        system = equilibrated(system, settings["count"], 800, 1000 + seed)
    began = time.perf_counter()
    averages, report = sample(system, corrector, chances, seed=seed, **settings)
    tests = compare(averages, known)
    head = {"system": name, "corrector": corrector, "extra_chances": chances, **settings}
    return {
        **head,
        **report,
        "largest_deviate": max(tests.deviates),
        "comparisons": len(tests.rows),
        "seconds": time.perf_counter() - began,
        "tests": tests.rows,
    }


def _control(name: str) -> dict[str, Any]:
    """The same potential without the test: how far off its ensemble is."""
    system = SYSTEMS[name]()
    averages, _ = sample(system, "none", 0, seed=99, metropolize=False, **SMALL)
    rows = compare(averages, system.expected).rows
    worst = max(rows, key=lambda row: abs(row["deviate"]))
    return {"system": name, "corrector": "none", "metropolized": False, "worst": worst}


def _all_deviates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All deviates together, of averages, histograms and detailed balance."""
    means = [abs(t["deviate"]) for r in rows for t in r["tests"] if t["quantity"] != "histogram"]
    histograms = [t["p_value"] for r in rows for t in r["tests"] if t["quantity"] == "histogram"]
    balances = [abs(row["balance_deviate"]) for row in rows]
    every = means + [deviate(p) for p in histograms] + balances
    return {
        "comparisons": len(every),
        "means_and_variances": len(means),
        "histograms": len(histograms),
        "largest_deviate": max(every),
        "expected_largest_deviate": expected_largest(len(every)),
        "limit_of_three_sigma_for_all": family_limit(len(every)),
        "beyond_two": sum(z > 2.0 for z in every),
        "beyond_two_expected": 0.0455 * len(every),
        "beyond_three": sum(z > 3.0 for z in every),
        "beyond_three_expected": 0.0027 * len(every),
        "root_mean_square_deviate": float(np.sqrt(np.mean(np.square(means)))),
        "smallest_p_value_of_histograms": min(histograms),
        "largest_deviate_of_exp_minus_dH": max(abs(r["exp_minus_dH_deviate"]) for r in rows),
        "expected_largest_of_as_many": expected_largest(len(rows)),
    }


@dataclass(frozen=True)
class ExactnessOptions(Options):
    """Which systems."""

    systems: tuple[str, ...] = option(tuple(SYSTEMS), "names of known ensembles")


def exactness(options: ExactnessOptions) -> dict[str, Any]:
    """Metropolized jumps with bad potentials, where the ensemble is known.

    Replicas start in equilibrium, those of the droplet from a Monte Carlo run of their own.
    """
    folder = options.cache / "exactness"
    written = kept(folder / "reference.json", lambda: reference(256, 2000, 12000))
    rows = []
    # Seeds go with the place in the whole plan.
    plan = [(n, c, e) for n in SYSTEMS for c in ("none", "impulse", "filtered") for e in (0, 3)]
    for seed, (name, corrector, chances) in enumerate(plan, 1):
        if name in options.systems:
            make = functools.partial(_exact_run, name, corrector, chances, seed, written)
            rows.append(kept(folder / f"{name}-{corrector}-{chances}.json", make))
    controls = [
        kept(folder / f"control-{name}.json", functools.partial(_control, name))
        for name in SMALL_ONES
        if name in options.systems
    ]
    return {
        "summary": _all_deviates(rows), "reference": written, "rows": rows, "controls": controls,
    }  # fmt: skip


def _checked_alone(one: Samples) -> dict[str, Any]:
    """The checks of kinetic energies."""
    return {
        "temperatures_K": [one.temperature_K],
        "degrees_of_freedom": one.degrees,
        "samples_each": one.kinetic.size,
        "correlation_of_frames": one.correlation,
        "kinetic": [kinetic_checks(one)],
    }


def _checked(one: Samples, other: Samples) -> dict[str, Any]:
    """Every check of a pair of runs."""
    return {
        **_checked_alone(one),
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


def _gfn2_water(run: BathRun, temperature: float, seed: int) -> tuple[Samples, dict[str, Any]]:
    """GFN2-xTB, with the bundled network as the potential."""
    water = named_molecule("water")
    water.calc = xtb_calculator("GFN2-xTB")
    state = join_states([state_from_atoms(water)] * run.replicas)
    model = load_model("organic-gfn2", dtype=torch.float64)
    return sample_energies(run, temperature, state, model, CopiesPhysics(water), seed)


BATHS = {
    name: ("water, Morse", morse_water, run) for name, run in MORSE_RUNS.items()
} | {name: ("water, GFN2", _gfn2_water, run) for name, run in GFN2_RUNS.items()}  # fmt: skip


@dataclass(frozen=True)
class NVTOptions(Options):
    """Which runs."""

    runs: tuple[str, ...] = option(tuple(BATHS), "names of runs")
    replicas: int = option(0, "of each run, not those of the suite")

    @classmethod
    def smoke(cls, cache: Path) -> NVTOptions:
        """One run of twenty replicas."""
        return cls(cache, ("berendsen-impulse",), 20)


def _nvt_row(name: str, options: NVTOptions) -> dict[str, Any]:
    system, make, run = BATHS[name]
    if options.replicas:
        run = dataclasses.replace(run, replicas=options.replicas)
    began = time.perf_counter()
    row = {"system": system, "name": name, **dataclasses.asdict(run)}
    one, cost = make(run, COLD, 1)
    if run.thermostat == "berendsen":
        # Its energies at two temperatures do not even overlap.
        row |= cost | _checked_alone(one)
    else:
        other, again = make(run, suggested_temperature(one), 2)
        row |= {key: [cost[key], again[key]] for key in cost} | _checked(one, other)
    return row | {"seconds": time.perf_counter() - began}


def nvt(options: NVTOptions) -> dict[str, Any]:
    """Kinetic energies and ensembles at 300 K and at the temperature that the checks suggest."""
    folder = options.cache / f"nvt{options.replicas or ''}"
    make = _nvt_row
    rows = [
        kept(folder / f"{name}.json", functools.partial(make, name, options))
        for name in options.runs
    ]
    return {"rows": rows}
