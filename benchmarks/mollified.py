"""Strides of 4 to 12 fs with averaged kicks, on potentials that learned from 300 labels of a run.

The physics is GFN2. Each molecule learns in one Langevin run at 300 K; the potential is frozen, and
runs begin at positions of that run with momenta drawn anew. Runs at constant energy are judged by
the true energy at their positions, from an evaluation for the record that no run sees or counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read, write
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from benchmarks.documents import ROOT
from benchmarks.learning import start_of
from benchmarks.learning_peers import MOLECULES
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import FlowJump, KStepDynamics, Learning, load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import (
    Spectrum,
    energy_drift,
    peak_shift,
    temperature_per_element,
    vibrational_density,
)
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.potentials import Potential
from kstep_integrators.step.guard import DynamicsFailed
from kstep_training.evaluate.jumps import WatchedJump

__all__ = ["LISTED", "drawn", "learned", "mollified_nve", "peers_mts"]

LISTED = ("ethanol", "glycine", "acetamide", "dimethyl_ether", "phenol")
"""Of the list that ``organic-gfn2`` was trained on."""
BASE_FS = 0.5
REFERENCE_FS, COMPARED_FS = 0.125, 160.0
"""Timestep of the run that distances are from, and when they are taken."""
WATCHED_FS, RESOLUTION = 2.0, 20.0
"""Interval of the momenta that spectra are made of, and cm^-1 that they resolve."""
STRETCHES = (2500.0, 4000.0)
"""Their band, cm^-1."""
MTS = Path(__file__).with_name("peer_mts.py")
APART = 25
"""Labels between the positions of two starts."""
METHODS = (
    *("verlet-0.5", "verlet-1", "mollified-8", "mollified-4", "impulse-4", "mollified-6"),
    *("mollified-10", "mollified-12", "impulse-8", "none-8"),
)
"""Corrector, and stride or time step in fs; the first is what stretches are compared with."""

Array = NDArray[np.float64]


def learned(
    name: str, labels: int, refit: str, starts: int, cache: Path
) -> tuple[Potential, list[Atoms], dict[str, Any]]:
    """A potential that learned from labels of a Langevin run, and positions of that run.

    Returns
    -------
    Potential
    list of ase.Atoms
        The last positions first; :data:`APART` labels lie between two.
    dict
        Labels, and the residual of the last quarter of them before they were learned, meV/A.
    """
    folder = cache / "mollified" / f"learned-{name}-{labels}-{refit}"

    def make() -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        atoms = start_of(name, 0, cache / "learning")
        atoms.calc = xtb_calculator("GFN2-xTB")
        began = time.process_time()
        dynamics = KStepDynamics(
            atoms, "organic-gfn2", k=8, timestep=BASE_FS * units.fs, temperature_K=300.0,
            friction=0.01 / units.fs, rng=np.random.default_rng([17, *name.encode()]),
            learn=Learning(refit="wait" if refit == "wait" else False),
        )  # fmt: skip
        frames = [atoms.copy()]
        sums = [dynamics.stats.residual_sum]
        while dynamics.lessons is None or dynamics.lessons.labels < labels:
            dynamics.run(1)
            frames.append(atoms.copy())
            sums.append(dynamics.stats.residual_sum)
        (early, before), (late, after) = sums[-max(2, len(sums) // 4)], sums[-1]
        dynamics.potential.save(folder / "potential.pt")  # type: ignore[attr-defined]
        write(folder / "starts.traj", frames[::-APART])
        return {
            "labels": dynamics.lessons.labels,
            "learned_ps": dynamics.get_time() / (1000.0 * units.fs),
            "last_residual_meV_per_A": 1e3 * float(np.sqrt((late - early) / (after - before))),
            "learning_cpu_seconds": time.process_time() - began,
        }

    about = kept(folder.with_suffix(".json"), make)
    frames: list[Atoms] = list(read(folder / "starts.traj", ":"))
    if len(frames) < starts:
        raise ValueError(
            f"{labels} labels give {len(frames)} starts {APART} strides apart, not {starts}; give "
            f"fewer starts or at least {APART * (starts - 1)} labels"
        )
    potential = load_model(folder / "potential.pt", device="cpu")
    if not isinstance(potential, Potential):
        raise TypeError(f"{folder} holds a {type(potential).__name__}, expected a potential")
    return potential, frames[:starts], about


def drawn(atoms: Atoms, seed: int) -> Atoms:
    """The same positions with momenta at 300 K, without net momentum or rotation."""
    copy: Atoms = atoms.copy()
    thermalize_momenta(copy, temperature_K=300.0, rng=np.random.default_rng([300, seed]))
    Stationary(copy, preserve_temperature=False)
    ZeroRotation(copy, preserve_temperature=False)
    copy.calc = xtb_calculator("GFN2-xTB")
    return copy


class Record:
    """Positions, momenta and energies of a run after each stride; energies are meV.

    ``watched`` are momenta every :data:`WATCHED_FS`, inside jumps too.
    """

    def __init__(self, atoms: Atoms, dynamics: Any, watch: WatchedJump | None) -> None:
        self.atoms, self.dynamics, self.watch = atoms, dynamics, watch
        self.positions, self.momenta = list[Array](), list[Array]()
        self.true, self.estimated, self.conserved = list[float](), list[float](), list[float]()
        self.watched = list[Array]()
        self.aside = atoms.copy()
        self.aside.calc = xtb_calculator("GFN2-xTB")

    def __call__(self) -> None:
        kinetic = float(self.atoms.get_kinetic_energy())
        self.positions.append(self.atoms.get_positions())
        self.momenta.append(self.atoms.get_momenta())
        if self.watch is not None:
            self.watched += [state.momenta.numpy().copy() for state in self.watch.inside]
        self.watched.append(self.momenta[-1])
        estimate = None if self.watch is None else self.dynamics.estimates()
        if estimate is None:
            potential = float(self.atoms.get_potential_energy())
        else:
            self.aside.positions = self.positions[-1]
            potential = float(self.aside.get_potential_energy())
            self.estimated.append(estimate.get_potential_energy() - potential)
        self.true.append(potential + kinetic)
        self.conserved.append(
            potential + kinetic if self.watch is None else self.dynamics.get_conserved_energy()
        )

    def row(self, stride_fs: float) -> dict[str, Any]:
        """Drifts, fluctuations, temperatures and the spectrum of the run."""
        n, times = len(self.atoms), np.arange(len(self.true)) * stride_fs * units.fs
        true, conserved = (energy_drift(times, e, n) for e in (self.true, self.conserved))
        masses = self.atoms.get_masses()
        share = atomic_degrees_of_freedom(
            masses, momentum_conserved=True, angular_momentum_positions=np.array(self.positions)
        )
        row: dict[str, Any] = {
            "fluctuation": true.fluctuation,
            "drift": true.drift,
            "conserved_fluctuation": conserved.fluctuation,
            "conserved_drift": conserved.drift,
            "kelvin": temperature_per_element(
                np.array(self.momenta), masses, self.atoms.numbers, share
            ),
        }
        if self.estimated:
            error = np.array(self.estimated) / n
            row["estimate_error_meV_per_atom"] = 1e3 * float(np.sqrt(np.mean(error**2)))
        interval = WATCHED_FS * units.fs
        if len(self.watched) * WATCHED_FS >= 1900.0:
            spectrum = vibrational_density(np.array(self.watched), masses, interval, RESOLUTION)
            row["spectrum"] = [list(spectrum.wavenumbers), list(spectrum.density)]
        return row


def _reference(start: Atoms) -> dict[str, list[list[float]]]:
    """Positions of the finest run, by femtosecond, about the time of comparison."""
    atoms, at = start.copy(), dict[str, list[list[float]]]()
    atoms.calc = xtb_calculator("GFN2-xTB")
    verlet = VelocityVerlet(atoms, REFERENCE_FS * units.fs)
    steps = round(1.0 / REFERENCE_FS)
    for fs in range(1, round(COMPARED_FS) + 9):
        verlet.run(steps)
        at[str(fs)] = atoms.get_positions().tolist()
    return at


def _run(
    method: str, start: Atoms, potential: Potential, length_ps: float,
    reference: Callable[[], dict[str, list[list[float]]]],
) -> dict[str, Any]:  # fmt: skip
    """One run at constant energy."""
    corrector, _, fs = method.partition("-")
    atoms, watch = start.copy(), None
    atoms.calc = xtb_calculator("GFN2-xTB")
    if corrector == "verlet":
        stride_fs, each = 2.0, round(2.0 / float(fs))
        dynamics: Any = VelocityVerlet(atoms, float(fs) * units.fs)
    else:
        stride_fs, each = float(fs), 1
        watch = WatchedJump(FlowJump(potential, BASE_FS * units.fs), round(WATCHED_FS / BASE_FS))
        dynamics = KStepDynamics(
            atoms, watch, k=round(stride_fs / BASE_FS), corrector=corrector,
            verify_interval=0 if corrector == "mollified" else None,
        )  # fmt: skip
    record, row = Record(atoms, dynamics, watch), dict[str, Any](stride_fs=stride_fs)
    began = time.process_time()
    try:
        for _ in range(round(1000.0 * length_ps / stride_fs)):
            dynamics.run(each)
            record()
    except DynamicsFailed as error:
        row["lost"] = str(error).partition(". The last")[0]
    row |= {"cpu_seconds_with_records": time.process_time() - began, "strides": len(record.true)}
    if len(record.true) >= 3:
        row |= record.row(stride_fs)
    if watch is not None:
        stats = dynamics.stats
        row["fallbacks"] = stats.fallbacks
        row["residual_meV_per_A"] = 1e3 * (stats.residual_rms or 0.0)
    strides = round(COMPARED_FS / stride_fs)
    if strides <= len(record.positions) and "lost" not in row:
        gap = record.positions[strides - 1] - np.array(reference()[str(round(strides * stride_fs))])
        row["distance_A"] = float(np.sqrt((gap**2).sum(1).mean()))
    return row


def _shift(row: dict[str, Any], reference: dict[str, Any]) -> float | None:
    """Shift of the stretches, cm^-1; None if a run has no spectrum, or there is no maximum."""
    if "spectrum" not in row or "spectrum" not in reference:
        return None
    first, second = (Spectrum(*map(np.array, one["spectrum"])) for one in (reference, row))
    try:
        return peak_shift(first, second, *STRETCHES)
    except ValueError:
        return None


@dataclass(frozen=True)
class MollifiedNVEOptions(Options):
    """Which runs, and how long."""

    molecules: tuple[str, ...] = option((*MOLECULES, *LISTED), "of either list")
    methods: tuple[str, ...] = option(METHODS, "verlet-STEP, or CORRECTOR-STRIDE in fs")
    starts: int = option(2, "of each molecule")
    learned: int = option(300, "labels of the run before")
    refit: str = option("no", "wait: with refits of all weights")
    length_ps: float = option(2.0, "of each run")

    @classmethod
    def smoke(cls, cache: Path) -> MollifiedNVEOptions:
        """A few strides of one molecule."""
        return cls(cache, ("water",), ("verlet-1", "mollified-8"), 1, 4, "no", 0.032)


def mollified_nve(options: MollifiedNVEOptions) -> dict[str, Any]:
    """Energy, distance and spectra of long strides at constant energy, beside velocity Verlet.

    Strides with impulses are r-RESPA with the same potential inside.
    """
    folder, rows = options.cache / "mollified", list[dict[str, Any]]()
    size = f"{options.learned}-{options.refit}-{options.length_ps:g}"
    for seed in range(options.starts):
        for name in options.molecules:
            potential, frames, about = learned(
                name, options.learned, options.refit, options.starts, options.cache
            )
            start, key = drawn(frames[seed], seed), f"{name}-{options.learned}-{seed}"

            def reference(start: Atoms = start, key: str = key) -> Any:
                return kept(folder / f"reference-{key}.json", lambda: _reference(start))

            runs = {
                method: kept(
                    folder / f"nve-{method}-{name}-{size}-{seed}.json",
                    lambda: _run(method, start, potential, options.length_ps, reference),  # noqa: B023
                )
                for method in options.methods
            }
            fine = runs[options.methods[0]]
            for run in runs.values():
                run["stretch_shift_per_cm"] = _shift(run, fine)
            for run in runs.values():
                run.pop("spectrum", None)
            rows.append({"molecule": name, "atoms": len(start), "seed": seed, **about, **runs})
            wide = {m: run.get("fluctuation", np.inf) for m, run in runs.items()}
            if {"mollified-8", "verlet-1"} <= wide.keys():
                below = "below" if wide["mollified-8"] < wide["verlet-1"] else "not below"
                print(f"{name} {seed}: fluctuation {wide['mollified-8']:.2f} meV/atom at 8 fs, "
                      f"{below} Verlet's {wide['verlet-1']:.2f} at 1 fs", flush=True)  # fmt: skip
    return {"physics": "GFN2-xTB", "base_fs": BASE_FS, "refit": options.refit, "rows": rows}


@dataclass(frozen=True)
class MTSOptions(Options):
    """The environment of i-PI, and which runs."""

    ipi: str = option("", "Python of an environment with i-PI and this package")
    molecules: tuple[str, ...] = option(("ethanol", "pyrimidine", "propanal"), "of either list")
    strides_fs: tuple[float, ...] = option((4.0, 8.0), "of each molecule")
    learned: int = option(300, "labels of the run before")
    length_ps: float = option(1.0, "of each run")


def peers_mts(options: MTSOptions) -> dict[str, Any]:
    """i-PI's multiple time stepping with the learned potential inside, beside our correctors.

    All begin at the same start; energies are those of GFN2 at the positions.
    ValueError: if no environment is named.
    """
    if not options.ipi:
        raise ValueError("no environment of i-PI is named; expected --ipi PYTHON")
    folder, rows = options.cache / "mollified", list[dict[str, Any]]()
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}", "OMP_NUM_THREADS": "1"}
    for name in options.molecules:
        _, frames, _ = learned(name, options.learned, "no", 1, options.cache)
        file = folder / f"mts-{name}.traj"
        write(file, drawn(frames[0], 0).copy())  # without a calculator
        for stride in options.strides_fs:
            count = round(1000.0 * options.length_ps / stride)
            part = folder / f"mts-{name}-{stride:g}-{count}.json"
            model = folder / f"learned-{name}-{options.learned}-no" / "potential.pt"
            if not part.exists():
                command = [options.ipi, "-W", "ignore", str(MTS), str(file), str(model)]
                subprocess.run(
                    [*command, f"{stride:g}", str(count), str(part)],
                    env=os.environ | path,
                    check=True,
                )
            made = json.loads(part.read_text())
            row = {"molecule": name, "stride_fs": stride, "version": made["version"]}
            for run, energies in made["energies"].items():
                times = np.arange(count) * stride * units.fs
                judged = energy_drift(times, np.array(energies), made["atoms"])
                row[run] = {"fluctuation": judged.fluctuation, "drift": judged.drift}
            pair = np.array([made["energies"]["impulse"], made["energies"]["i-PI"]])
            row["apart_meV_at_100_fs"] = 1e3 * float(np.ptp(pair[:, round(100 / stride)]))
            rows.append(row)
    return {"physics": "GFN2-xTB", "base_fs": BASE_FS, "length_ps": options.length_ps, "rows": rows}
