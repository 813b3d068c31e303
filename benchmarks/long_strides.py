"""Long strides at GFN2, 300 K, ten molecules: jumps with each corrector against velocity Verlet.

    python -m benchmarks.long_strides CACHE --tune
    python -m benchmarks.long_strides CACHE [--methods verlet-1 organic-gfn2.filtered-4 ...]
    python -m benchmarks.long_strides CACHE --report

Runs are kept in the folder CACHE, one file for each molecule, method and start, and never made
twice. Every method starts from the same states and covers the same simulated time: 10 ps in eight
legs from the first start of each molecule, 160 fs from three more. Base step of all jumps 0.5 fs.
Energies are the physics at the sampled positions, every 24 fs; momenta are sampled every 2 fs,
inside the jumps too, so that the spectra of all strides see stretches without aliasing. ``--tune``
makes the model ``tuned``: `organic-gfn2` fitted on to 500 frames of each molecule.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

from benchmarks.common import write_result
from benchmarks.long_strides_record import Record, Run, missing, read_record, write_record
from benchmarks.long_strides_report import (
    BANDS,
    joined_legs,
    noise,
    row,
    shift_summary,
    summary,
    verdicts,
)
from benchmarks.long_strides_tune import START, tune, tuned_model
from benchmarks.starts import thermalized
from benchmarks.watched_batch import run_nve
from kstep_integrators import load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import distance_between
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.testing import CountingCalculator

MOLECULES = (
    *("ammonia", "formaldehyde", "methanol", "acetonitrile", "acetic_acid"),
    *("ethanol", "malonaldehyde", "imidazole", "glycine", "benzene"),
)
"""4 to 12 atoms. Without methane, whose fluctuation is an outlier (see nve.json)."""
SEEDS = (0, 1, 2, 3)
BASE_FS = 0.5
ENERGY_FS = 24.0
"""Lands on every stride."""
FRAME_FS = 2.0
COMPARED_FS = 160.0
"""When positions are compared with the reference."""
LEGS = 8
LEG_FS = 1248.0
"""A multiple of every interval."""


@dataclass(frozen=True)
class Method:
    """How molecules are moved: velocity Verlet, or jumps on a model."""

    stride_fs: float
    model: str | None = None
    corrector: str | None = None
    only_short: bool = False

    def femtoseconds(self, seed: int) -> float:
        """Length of each leg from a start."""
        return COMPARED_FS if self.only_short or seed > 0 else LEG_FS

    def legs(self, seed: int) -> int:
        """How many legs there are from a start."""
        return 1 if self.only_short or seed > 0 else LEGS


REFERENCE = "verlet-0.125"
"""What distances are measured from."""
SPECTRA = "verlet-0.5"
"""What spectra are compared with: the base step of the jumps, so that shifts are the stride's own.

Velocity Verlet at 0.5 fs itself has stretches of 3000 cm^-1 10 cm^-1 too high."""
METHODS: dict[str, Method] = {
    REFERENCE: Method(0.125, only_short=True),
    **{f"verlet-{h:g}": Method(h) for h in (2.0, 1.0, 0.5, 0.25)},
    **{
        f"{model}.{corrector}-{h}": Method(float(h), model, corrector)
        for model in ("organic-gfn2", "tuned")
        for corrector, strides in (
            ("none", (4,)),
            ("impulse", (2, 4, 6, 8)),
            ("filtered", (4, 8, 6, 2)),
        )
        for h in strides
    },
}


def start(cache: Path, run: Run, name: str) -> Atoms | None:
    """Where a run starts, with a fresh calculator; None if the leg before it came to no end.

    The first legs of all methods have the same starts.
    """
    path = cache / "starts" / f"{name}.{run.seed}.traj"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write(path, thermalized(name, seed=run.seed))
    atoms = read(path)
    if not isinstance(atoms, Atoms):
        raise TypeError(f"{path} holds a {type(atoms).__name__}, expected one frame")
    if run.leg > 0:
        before = read_record(cache, replace(run, leg=run.leg - 1), name)
        if before is None or before.facts["error"]:
            return None
        atoms.positions = before.positions[-1]
        atoms.set_momenta(before.momenta[-1])
    atoms.calc = xtb_calculator("GFN2-xTB")
    return atoms


def run_verlet(atoms: Atoms, method: Method, femtoseconds: float) -> Record:
    """Velocity Verlet of one molecule; a run that fails keeps what it has."""
    counter = CountingCalculator(atoms.calc)
    atoms.calc = counter
    dynamics = VelocityVerlet(atoms, method.stride_fs * units.fs)
    times, energies, momenta, positions = [], [], [], []

    def frame() -> None:
        momenta.append(atoms.get_momenta())
        positions.append(atoms.get_positions())

    def energy() -> None:
        times.append(dynamics.get_time())
        energies.append(atoms.get_total_energy())

    dynamics.attach(frame, interval=round(FRAME_FS / method.stride_fs))
    dynamics.attach(energy, interval=round(ENERGY_FS / method.stride_fs))
    error = ""
    began = time.perf_counter()
    try:
        dynamics.run(round(femtoseconds / method.stride_fs))
    except (CalculationFailed, RuntimeError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Record(
        times=np.array(times),
        energies=np.array(energies),
        positions=np.array(positions),
        momenta=np.array(momenta),
        masses=atoms.get_masses(),
        facts={
            "evaluations": counter.evaluations,
            "picoseconds": dynamics.get_time() / units.fs / 1e3,
            "seconds": time.perf_counter() - began,
            "fallbacks": 0,
            "error": error,
        },
    )


@functools.cache
def _loaded(source: str | Path) -> NetworkPotential:
    """A model is compiled once for all runs of one call."""
    return load_model(source, device="cpu", compile=True)


def run_jumps(cache: Path, run: Run, names: Sequence[str]) -> dict[str, Record]:
    """Jumps of several molecules as one state; those that cannot start are left out."""
    method = METHODS[run.key]
    starts = {name: start(cache, run, name) for name in names}
    molecules = {name: atoms for name, atoms in starts.items() if atoms is not None}
    if not molecules:
        return {}
    potential = _loaded(START if method.model == START else tuned_model(cache))
    began = time.perf_counter()
    found = run_nve(
        list(molecules.values()),
        potential,
        round(method.stride_fs / BASE_FS),
        BASE_FS,
        1e-3 * method.femtoseconds(run.seed),
        str(method.corrector),
        ENERGY_FS,
        FRAME_FS,
    )
    seconds = time.perf_counter() - began
    records, first = {}, 0
    for i, (name, atoms) in enumerate(molecules.items()):
        mine = slice(first, first + len(atoms))
        first += len(atoms)
        femtoseconds = found.rows[i]["strides"] * method.stride_fs
        frames = slice(1 + round(femtoseconds / FRAME_FS))
        samples = slice(1 + int(femtoseconds / ENERGY_FS))
        records[name] = Record(
            times=found.times[samples],
            energies=found.energies[samples, i],
            positions=found.positions[frames, mine],
            momenta=found.momenta[frames, mine],
            masses=atoms.get_masses(),
            facts={
                **found.rows[i],
                "picoseconds": 1e-3 * femtoseconds,
                "seconds": seconds / len(molecules),
                "batch_of": len(molecules),
            },
        )
    return records


def make(cache: Path, run: Run) -> None:
    """One run of each molecule, where it is not there yet."""
    method = METHODS[run.key]
    names = missing(cache, run, MOLECULES)
    if names and method.model is not None:
        for name, record in run_jumps(cache, run, names).items():
            write_record(cache, run, name, record)
            print(f"{run} {name}: {record.facts}", flush=True)
        return
    for name in names:
        atoms = start(cache, run, name)
        if atoms is not None:
            record = run_verlet(atoms, method, method.femtoseconds(run.seed))
            write_record(cache, run, name, record)
            print(f"{run} {name}: {record.facts}", flush=True)


def distance(cache: Path, run: Run, name: str) -> float | None:
    """Distance of a run from the reference at the time of comparison, angstrom."""
    there = read_record(cache, replace(run, key=REFERENCE), name)
    here = read_record(cache, run, name)
    if there is None or here is None:
        raise FileNotFoundError(f"{run} of {name} or its reference was not made yet")
    frame = round(COMPARED_FS / FRAME_FS)
    if len(here.positions) <= frame or not np.isfinite(here.positions[frame]).all():
        return None
    return float(distance_between(here.positions[frame], there.positions[frame]))


def _complete(cache: Path, legs: int) -> dict[str, dict[str, Record]]:
    """Methods that have so many legs of every molecule."""
    found: dict[str, dict[str, Record]] = {}
    for key, method in METHODS.items():
        if method.only_short:
            continue
        records = {name: joined_legs(cache, Run(key, 0), name, legs) for name in MOLECULES}
        known = {name: record for name, record in records.items() if record is not None}
        if len(known) == len(MOLECULES):
            found[key] = known
    return found


def _of_one_length(cache: Path, tuned: bool) -> tuple[int, dict[str, dict[str, Record]]]:
    """Methods of the tuned model, or the others: as many legs as all of them have."""

    def mine(legs: int) -> dict[str, dict[str, Record]]:
        found = _complete(cache, legs)
        return {key: found[key] for key in found if key.startswith("tuned.") == tuned}

    legs = 1
    there = mine(legs)
    while legs < LEGS and len(longer := mine(legs + 1)) == len(there):
        legs, there = legs + 1, longer
    return legs, there


def _by_start(cache: Path) -> dict[str, dict[str, Any]]:
    """Distance from the reference of every method by start, where all molecules were run."""
    found: dict[str, dict[str, Any]] = {}
    for key in METHODS:
        for seed in SEEDS:
            run = Run(key, seed)
            if key == REFERENCE or missing(cache, run, MOLECULES):
                continue
            gaps = [distance(cache, run, name) for name in MOLECULES]
            known = [gap for gap in gaps if gap is not None]
            found.setdefault(key, {})[str(seed)] = {
                "mean_A": float(np.mean(known)) if known else None,
                "lost": len(gaps) - len(known),
            }
    return found


def report(cache: Path) -> None:
    """Gather the runs into one result: the methods that are there, as long as all of them are.

    Those of the tuned model may be shorter than the others.
    """
    there: dict[str, dict[str, Record]] = {}
    lengths: dict[str, int] = {}
    for tuned in (False, True):
        legs, mine = _of_one_length(cache, tuned)
        there |= mine
        lengths |= dict.fromkeys(mine, legs)
    rows: list[dict[str, Any]] = []
    for key, records in there.items():
        for name, record in records.items():
            runs = [Run(key, seed) for seed in SEEDS]
            made = [run for run in runs if not missing(cache, run, [name])]
            distances = [distance(cache, run, name) for run in made]
            reference = None
            if key != SPECTRA:
                reference = joined_legs(cache, Run(SPECTRA, 0), name, lengths[key])
            facts = row(record, reference, distances, FRAME_FS)
            rows.append({"method": key, "molecule": name, **facts})
    summaries = {key: summary([r for r in rows if r["method"] == key]) for key in there}
    longest = max(legs for legs in range(1, LEGS + 1) if SPECTRA in _complete(cache, legs))
    halves = [noise(r, FRAME_FS) for r in _complete(cache, longest)[SPECTRA].values()]
    for key, mine in summaries.items():
        print(key, json.dumps(mine))
    write_result(
        "long_strides",
        {
            "what": __doc__,
            "tuning": json.loads((cache / "tune" / "test.json").read_text()),
            "spectra": {
                "reference": SPECTRA,
                "shift_between_halves_per_cm": {
                    band: shift_summary([half.get(band) for half in halves]) for band in BANDS
                },
            },
            "aims": verdicts(summaries, rows),
            "summary": summaries,
            "rmsd_by_start": _by_start(cache),
            "rows": rows,
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--tune", action="store_true", help="make the model `tuned`")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        report(arguments.cache)
        return
    if arguments.tune:
        tune(arguments.cache, MOLECULES)
        return
    runs = [
        Run(key, seed, leg)
        for key in arguments.methods
        for seed in SEEDS
        for leg in range(METHODS[key].legs(seed))
    ]
    # Short ones first.
    for run in sorted(runs, key=lambda run: (run.leg, -run.seed)):
        make(arguments.cache, run)


if __name__ == "__main__":
    main()
