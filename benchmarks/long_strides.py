"""Long strides at GFN2, 300 K, ten molecules: jumps with each corrector against velocity Verlet.

    python -m benchmarks.long_strides CACHE --tune
    python -m benchmarks.long_strides CACHE [--methods verlet-1 organic-gfn2.filtered-4 ...]
    python -m benchmarks.long_strides CACHE --report

Runs are kept in the folder CACHE, one file for each molecule, method and start, and never made
twice. Every method starts from the same states and covers the same simulated time: 10 ps from the
first start of each molecule, 160 fs from three more. Base step of all jumps 0.5 fs. Energies are
the physics at the sampled positions, every 24 fs; momenta are sampled every 2 fs, inside the jumps
too, so that the spectra of all strides see stretches without aliasing. ``--tune`` makes the model
``tuned``: `organic-gfn2` fitted on to 500 frames of each molecule.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

from benchmarks.batch import run_nve
from benchmarks.long_strides_record import Record, missing, write_record
from benchmarks.long_strides_tune import START, tune, tuned_model
from benchmarks.starts import thermalized
from kstep_integrators import load_model
from kstep_integrators.calculators import xtb_calculator
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
PICOSECONDS = 10.008
"""A multiple of every interval."""


@dataclass(frozen=True)
class Method:
    """How molecules are moved: velocity Verlet, or jumps on a model."""

    stride_fs: float
    model: str | None = None
    corrector: str | None = None
    only_short: bool = False

    def femtoseconds(self, seed: int) -> float:
        """Length of the run from a start."""
        return COMPARED_FS if self.only_short or seed > 0 else 1e3 * PICOSECONDS


REFERENCE = "verlet-0.125"
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


def start(cache: Path, name: str, seed: int) -> Atoms:
    """The start of all runs of a molecule with this seed, with a fresh calculator."""
    path = cache / "starts" / f"{name}.{seed}.traj"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write(path, thermalized(name, seed=seed))
    atoms = read(path)
    if not isinstance(atoms, Atoms):
        raise TypeError(f"{path} holds a {type(atoms).__name__}, expected one frame")
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


def run_jumps(cache: Path, key: str, seed: int) -> dict[str, Record]:
    """Jumps of all molecules as one state."""
    method = METHODS[key]
    molecules = [start(cache, name, seed) for name in MOLECULES]
    potential = _loaded(START if method.model == START else tuned_model(cache))
    began = time.perf_counter()
    run = run_nve(
        molecules,
        potential,
        round(method.stride_fs / BASE_FS),
        BASE_FS,
        1e-3 * method.femtoseconds(seed),
        str(method.corrector),
        ENERGY_FS,
        FRAME_FS,
    )
    seconds = time.perf_counter() - began
    records, first = {}, 0
    for i, (name, atoms) in enumerate(zip(MOLECULES, molecules, strict=True)):
        mine = slice(first, first + len(atoms))
        first += len(atoms)
        records[name] = Record(
            times=run.times,
            energies=run.energies[:, i],
            positions=run.positions[:, mine],
            momenta=run.momenta[:, mine],
            masses=atoms.get_masses(),
            facts={
                **run.rows[i],
                "picoseconds": (len(run.positions) - 1) * FRAME_FS / 1e3,
                "seconds": seconds / len(molecules),
                "batch_of": len(molecules),
                "error": run.error,
            },
        )
    return records


def make(cache: Path, key: str, seed: int) -> None:
    """The runs of one method from one start of each molecule that are not there yet."""
    method = METHODS[key]
    names = missing(cache, key, seed, MOLECULES)
    if names and method.model is not None:
        # The same batch each time: no others are compiled.
        for name, record in run_jumps(cache, key, seed).items():
            write_record(cache, name, key, seed, record)
            print(f"{name} {key} {seed}: {record.facts}", flush=True)
        return
    for name in names:
        atoms = start(cache, name, seed)
        record = run_verlet(atoms, method, method.femtoseconds(seed))
        write_record(cache, name, key, seed, record)
        print(f"{name} {key} {seed}: {record.facts}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--tune", action="store_true", help="make the model `tuned`")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.tune:
        tune(arguments.cache, MOLECULES)
        return
    for seed in reversed(SEEDS):
        for key in arguments.methods:
            make(arguments.cache, key, seed)


if __name__ == "__main__":
    main()
