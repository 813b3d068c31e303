"""Runs that learn: residuals by label, energy after learning, acceptance after a burn-in, DFT."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

from benchmarks.energy import thermalized
from benchmarks.learning_peers import MOLECULES, labels
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import (
    CalculatorPotential,
    Ensemble,
    KStepDynamics,
    Learning,
    load_model,
)
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.potentials import Potential

__all__ = ["learning_dft", "learning_metropolis", "learning_nve", "learning_residuals"]

BASE_FS, K = 0.5, 8
SMOOTH = 10
"""Landings over which a residual is averaged before it counts as below a threshold."""


def base_of(name: str) -> Potential | None:
    """The base potential of a name: a network or its file, GFN2, GFN-FF, or none."""
    if name == "none":
        return None
    if name in ("GFN2-xTB", "GFN-FF"):
        return CalculatorPotential(xtb_calculator(name))
    potential = load_model(name, device="cpu")
    return potential if isinstance(potential, Potential) else None


def start_of(name: str, seed: int, cache: Path) -> Atoms:
    """A molecule at 300 K under GFN2, outside the list or of it; each seed another instant."""
    if name not in MOLECULES:
        return thermalized(name, seed=seed)
    file = cache / f"{name}.traj"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, labels(name))
    frame = read(file, 80 * seed)
    return frame if isinstance(frame, Atoms) else frame[0]


class Watch:
    """Record of a run after each stride."""

    def __init__(self, dynamics: KStepDynamics) -> None:
        self.dynamics, self.rows = dynamics, list[dict[str, Any]]()
        self._sum, self._wall, self._cpu = (0.0, 0), time.perf_counter(), time.process_time()
        dynamics.attach(self, interval=1)

    def __call__(self) -> None:
        dynamics = self.dynamics
        now, before = dynamics.stats.residual_sum, self._sum
        self._sum = now
        residual = None
        if now[1] > before[1]:
            residual = 1e3 * float(np.sqrt((now[0] - before[0]) / (now[1] - before[1])))
        lessons = dynamics.lessons
        self.rows.append({
            "fs": dynamics.get_time() / units.fs,
            "k": dynamics.k,
            "labels": 0 if lessons is None else lessons.labels,
            "residual": residual,
            "energy": float((dynamics.estimates() or dynamics.atoms).get_total_energy()),
            "conserved": dynamics.get_conserved_energy(),
            "wall": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
        })  # fmt: skip


def labels_until(residuals: list[float], threshold: float) -> int | None:
    """Labels after which the smoothed residual stays below a threshold; None for never."""
    if len(residuals) < SMOOTH:
        return None
    square = np.convolve(np.square(residuals), np.full(SMOOTH, 1.0 / SMOOTH), "valid")
    above = np.flatnonzero(np.sqrt(square) >= threshold)
    if not len(above):
        return SMOOTH
    return None if above[-1] == len(square) - 1 else int(above[-1]) + 1 + SMOOTH


@dataclass(frozen=True)
class ResidualOptions(Options):
    """Which runs, and how long."""

    molecules: tuple[str, ...] = option(tuple(MOLECULES), "some of the ten outside the list")
    bases: tuple[str, ...] = option(("organic-gfn2", "GFN-FF", "none"), "or GFN2-xTB, or files")
    seeds: int = option(1, "starts of each")
    strides: int = option(120, "of each run")
    refit: str = option("no", "wait: with refits, taken over at fixed numbers of labels")

    @classmethod
    def smoke(cls, cache: Path) -> ResidualOptions:
        """A few strides of one molecule."""
        return cls(cache, ("propanal",), ("organic-gfn2",), 1, 6)


def learning_residuals(options: ResidualOptions) -> dict[str, Any]:
    """GFN2 physics, strides of 4 fs at constant energy: the residual of each landing, by label."""

    def run(name: str, base: str, seed: int) -> dict[str, Any]:
        atoms = start_of(name, seed, options.cache / "learning")
        atoms.calc = xtb_calculator("GFN2-xTB")
        refit: bool | str = "wait" if options.refit == "wait" else False
        folder = options.cache / "learning" / f"{name}-{Path(base).stem}-{seed}-{options.refit}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "labels.traj"
        file.unlink(missing_ok=True)
        dynamics = KStepDynamics(
            atoms, base_of(base), k=K, timestep=BASE_FS * units.fs,
            learn=Learning(refit=refit, file=file),
        )  # fmt: skip
        watch = Watch(dynamics)
        dynamics.run(options.strides)
        last = watch.rows[-1]
        residuals = [row["residual"] for row in watch.rows if row["residual"] is not None]
        lessons = dynamics.lessons
        return {
            "molecule": name, "atoms": len(atoms), "base": Path(base).stem, "seed": seed,
            "refits": 0 if lessons is None else lessons.refit_taken,
            "before": None if lessons is None else 1e3 * lessons.grades[0].of_base,
            "residuals": residuals,
            "until": {str(x): labels_until(residuals, x) for x in (40, 25, 15, 10)},
            "cpu_seconds_per_label": last["cpu"] / last["labels"],
            "fallbacks": dynamics.stats.fallbacks,
        }  # fmt: skip

    rows = [
        kept(
            options.cache
            / "learning"
            / f"{name}-{Path(base).stem}-{seed}-{options.strides}-{options.refit}.json",
            lambda: run(name, base, seed),  # noqa: B023
        )
        for seed in range(options.seeds)
        for base in options.bases
        for name in options.molecules
    ]
    return {"physics": "GFN2-xTB", "stride_fs": BASE_FS * K, "refit": options.refit, "rows": rows}


@dataclass(frozen=True)
class LearnedNVEOptions(Options):
    """Which runs, and how long."""

    molecules: tuple[str, ...] = option(
        ("pyrimidine", "dimethylformamide", "propanal", "ethanol", "glycine"), "of either list"
    )
    correctors: tuple[str, ...] = option(("impulse", "filtered"), "of the jumps")
    starts: int = option(2, "of each molecule")
    learned: int = option(100, "labels before the run that is judged")
    length_ps: float = option(1.0, "of the run that is judged")

    @classmethod
    def smoke(cls, cache: Path) -> LearnedNVEOptions:
        """A few strides of one molecule."""
        return cls(cache, ("propanal",), ("impulse",), 1, 4, 0.016)


def learning_nve(options: LearnedNVEOptions) -> dict[str, Any]:
    """Energy of strides of 4 fs after learning, beside the base and velocity Verlet at 1 fs."""

    def judged(energies: list[float], stride_fs: float, atoms: int) -> dict[str, float]:
        times = np.arange(len(energies)) * stride_fs * units.fs
        drift = energy_drift(times, np.array(energies), atoms)
        return {"drift": drift.drift, "fluctuation": drift.fluctuation}

    def run(name: str, seed: int) -> dict[str, Any]:
        atoms = start_of(name, seed, options.cache / "learning")
        atoms.calc = xtb_calculator("GFN2-xTB")
        learning = KStepDynamics(
            atoms, "organic-gfn2", k=K, timestep=BASE_FS * units.fs, learn=Learning(refit=False)
        )
        learning.run(options.learned)
        row: dict[str, Any] = {"molecule": name, "atoms": len(atoms), "seed": seed}
        row["labels"] = 0 if learning.lessons is None else learning.lessons.labels
        steps = round(1000 * options.length_ps / (BASE_FS * K))
        for corrector in options.correctors:
            for potential in ("organic-gfn2", learning.potential):
                copy = atoms.copy()
                copy.calc = xtb_calculator("GFN2-xTB")
                dynamics = KStepDynamics(
                    copy, potential, k=K, timestep=BASE_FS * units.fs, corrector=corrector
                )
                watch = Watch(dynamics)
                dynamics.run(steps)
                key = "base" if isinstance(potential, str) else "learned"
                row[f"{corrector} {key}"] = {
                    **judged([one["energy"] for one in watch.rows], BASE_FS * K, len(atoms)),
                    "residual": 1e3 * (dynamics.stats.residual_rms or 0.0),
                }
        copy = atoms.copy()
        copy.calc = xtb_calculator("GFN2-xTB")
        energies: list[float] = []
        verlet = VelocityVerlet(copy, 1.0 * units.fs)
        verlet.attach(lambda: energies.append(float(copy.get_total_energy())), interval=4)
        verlet.run(4 * steps)
        row["verlet 1 fs"] = judged(energies, 4.0, len(atoms))
        return row

    size = f"{options.learned}-{options.length_ps:g}"
    rows = [
        kept(options.cache / "learning" / f"nve-{name}-{seed}-{size}.json", lambda: run(name, seed))  # noqa: B023
        for seed in range(options.starts)
        for name in options.molecules
    ]
    return {"physics": "GFN2-xTB", "stride_fs": BASE_FS * K, "rows": rows}


@dataclass(frozen=True)
class LearnedMetropolisOptions(Options):
    """Which runs, and how long."""

    molecules: tuple[str, ...] = option(
        ("dimethylformamide", "pyrimidine", "ethyl_acetate", "glycine", "acetaldoxime"),
        "of either list",
    )
    stride_fs: float = option(100.0, "asked for")
    replicas: int = option(8, "that learn together")
    stop: int = option(240, "labels of the burn-in")
    steps: int = option(15, "strides of every replica that are judged")

    @classmethod
    def smoke(cls, cache: Path) -> LearnedMetropolisOptions:
        """A few strides of one molecule."""
        return cls(cache, ("propanal",), 4.0, 2, 8, 2)


def learning_metropolis(options: LearnedMetropolisOptions) -> dict[str, Any]:
    """Acceptance at long strides after a burn-in that learned, beside the base."""

    def run(name: str) -> dict[str, Any]:
        k = round(options.stride_fs / BASE_FS)
        copies = [start_of(name, seed % 5, options.cache / "learning")
                  for seed in range(options.replicas)]  # fmt: skip
        row: dict[str, Any] = {"molecule": name, "atoms": len(copies[0])}
        for key in ("learned", "base"):
            learn = Learning(refit=False, stop=options.stop) if key == "learned" else False
            with Ensemble(
                copies, "organic-gfn2", lambda _: xtb_calculator("GFN2-xTB"), k=k,
                timestep=BASE_FS * units.fs, corrector="none", metropolize=True, extra_chances=0,
                temperature_K=300.0, friction=0.01 / units.fs, learn=learn,
                rng=np.random.default_rng(0),
            ) as ensemble:  # fmt: skip
                while learn and ensemble.production_start is None:
                    ensemble.run(1)
                before = ensemble.result().replicas if learn else ()
                row[f"burn-in {key}"] = ensemble.nsteps
                ensemble.run(options.steps)
                done = ensemble.result().replicas
                accepted = sum(one.stats.accepted for one in done)
                accepted -= sum(one.stats.accepted for one in before)
                row[key] = accepted / (options.steps * len(done))
                row[f"stride_fs {key}"] = ensemble.k * BASE_FS
        return row

    rows = [
        kept(
            options.cache / "learning" / f"metropolis-{name}-{options.stop}.json",
            lambda name=name: run(name),  # type: ignore[misc]
        )
        for name in options.molecules
    ]
    return {"physics": "GFN2-xTB", "replicas": options.replicas, "rows": rows}


@dataclass(frozen=True)
class LearnedDFTOptions(Options):
    """Which run."""

    start: str = option("ethanol", "a bundled molecule, or a file with positions and momenta")
    base: str = option("organic-gfn2", "organic-gfn2, GFN2-xTB, GFN-FF or none")
    length_fs: float = option(1000.0, "of the run")
    stride_fs: float = option(BASE_FS * K, "that the run may grow to")
    verify_interval: int = option(0, "strides between two checks of estimates, beyond 4 fs")
    density_fit: bool = option(False, "fit densities")
    verlet_fs: float = option(0.0, "length of velocity Verlet at 0.5 and 1 fs beside it")


def learning_dft(options: LearnedDFTOptions) -> dict[str, Any]:
    """B3LYP/def2-SVP from the first step, all learning included."""
    file = Path(options.start)
    found = read(file) if file.is_file() else thermalized(options.start)
    atoms = found if isinstance(found, Atoms) else found[0]

    def physics() -> PySCFCalculator:
        return PySCFCalculator(xc="b3lyp", basis="def2-svp", density_fit=options.density_fit)

    runs: dict[str, Any] = {}
    copy = atoms.copy()
    copy.calc = physics()
    dynamics = KStepDynamics(
        copy, base_of(options.base), k=round(options.stride_fs / BASE_FS),
        timestep=BASE_FS * units.fs, verify_interval=options.verify_interval or None,
        learn=Learning(refit=False),
    )  # fmt: skip
    watch = Watch(dynamics)
    while dynamics.get_time() < options.length_fs * units.fs:
        dynamics.run(1)
    runs["learning"] = {"rows": watch.rows, "evaluations": dynamics.stats.physics_evaluations}
    for step in (0.5, 1.0) if options.verlet_fs else ():
        copy = atoms.copy()
        copy.calc = physics()
        began, energies = time.process_time(), list[float]()
        verlet = VelocityVerlet(copy, step * units.fs)
        verlet.attach(lambda: energies.append(float(copy.get_total_energy())), interval=1)  # noqa: B023
        verlet.run(round(options.verlet_fs / step))
        runs[f"verlet {step:g} fs"] = {"energies": energies, "cpu": time.process_time() - began}
    return {"atoms": len(atoms), "base": options.base, "density_fit": options.density_fit,
            "runs": runs}  # fmt: skip
