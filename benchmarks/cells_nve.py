"""Periodic systems at constant energy: a potential that learns, and strides on it beside Verlet.

A potential learns in one run, is kept, and is judged at several strides beside bases that learn
nothing and velocity Verlet. Energies are computed anew by the physics at the positions of each run,
whatever the run knows of them; structure, vibrations and diffusion are compared with a fine run
from another start.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from benchmarks.learning import Watch, labels_until
from benchmarks.results import kept
from kstep_integrators import KStepDynamics, Learning, load_model
from kstep_integrators.diagnostics import (
    energy_drift,
    radial_distribution,
    self_diffusion,
    spectral_overlap,
    vibrational_density,
)
from kstep_integrators.diagnostics.spectra import Spectrum
from kstep_integrators.learning import AdaptedPotential
from kstep_integrators.potentials import Potential
from kstep_integrators.testing import CountingCalculator

__all__ = ["Case", "learned", "nve", "overlaps", "strides", "verlet"]

Array = NDArray[np.float64]
LEARN_K, BINS = 4, 100


@dataclass(frozen=True)
class Case:
    """A system: how runs of it begin, what computes its forces, and how they are looked at.

    `start` makes atoms with momenta from a seed, `bases` potentials by name. Times are in fs, the
    limit of the radial distribution in angstrom, the resolution in cm^-1, limits of residuals in
    meV/angstrom, lags of the diffusion coefficient, if there is one, in ps.
    """

    start: Callable[[int], Atoms]
    physics: Callable[[], Calculator]
    bases: dict[str, Callable[[Atoms], Potential]]
    base_fs: float
    frame_fs: float
    limit: float
    resolution: float
    residuals: tuple[float, ...]
    lags: tuple[float, float] | None = None

    def atoms(self, seed: int) -> Atoms:
        """Atoms that count what they cost."""
        atoms = self.start(seed)
        atoms.calc = CountingCalculator(self.physics())
        return atoms

    def base(self, name: str, atoms: Atoms) -> Potential | None:
        """A potential; None for ``"nothing"``."""
        return None if name == "nothing" else self.bases[name](atoms)


def nve(
    case: Case, ways: dict[tuple[str, str], tuple[float, ...]], steps: tuple[float, ...],
    labels: int, length_ps: float, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Lessons, and runs of Verlet by step and of each way and base by stride, fs."""
    fine = kept(folder / "verlet-fine.json", lambda: verlet(case, min(steps), 1, length_ps))
    lessons, rows = [], []
    for (way, base), lengths in ways.items():
        file = folder / f"{base}.safetensors"
        if way == "learned":
            make = functools.partial(learned, case, base, labels, file)
            lessons.append(kept(folder / f"learned-{base}.json", make))
        for stride in lengths:
            go = functools.partial(strides, case, way, base, stride, length_ps, file)
            rows.append(kept(folder / f"{way.replace(' ', '-')}-{base}-{stride:g}.json", go))
    beside = [
        kept(folder / f"verlet-{step:g}.json", functools.partial(verlet, case, step, 0, length_ps))
        for step in steps
    ]
    return {"lessons": lessons, "nve": [overlaps(row, fine) for row in (*beside, *rows)]}


def learned(case: Case, base: str, labels: int, file: Path) -> dict[str, Any]:
    """Learn in strides that grow; the residual of each landing, and the model's file."""
    atoms = case.atoms(0)
    dynamics = KStepDynamics(
        atoms, case.base(base, atoms), k=LEARN_K, timestep=case.base_fs * units.fs,
        learn=Learning(refit=False),
    )  # fmt: skip
    watch, began = Watch(dynamics), time.process_time()
    dynamics.run(labels)
    lessons = dynamics.lessons
    residuals = [row["residual"] for row in watch.rows if row["residual"] is not None]
    cast(AdaptedPotential, dynamics.potential).save(file)
    return {
        "base": base, "labels": 0 if lessons is None else lessons.labels,
        "before": None if lessons is None else 1e3 * lessons.grades[0].of_base,
        "residuals": residuals, "fs": [row["fs"] for row in watch.rows],
        "until": {f"{x:g}": labels_until(residuals, x) for x in case.residuals},
        "fallbacks": dynamics.stats.fallbacks,
        "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def verlet(case: Case, step_fs: float, seed: int, length_ps: float) -> dict[str, Any]:
    """Velocity Verlet on the physics."""
    atoms = case.atoms(seed)
    frames: list[tuple[Array, Array]] = []
    dynamics = VelocityVerlet(atoms, step_fs * units.fs)
    dynamics.attach(
        lambda: frames.append((atoms.get_positions(), atoms.get_momenta())),
        interval=round(case.frame_fs / step_fs),
    )
    began = time.process_time()
    dynamics.run(round(1000 * length_ps / step_fs))
    seconds = time.process_time() - began
    return {"way": "Verlet", "base": None, "stride_fs": step_fs, "seed": seed,
            "evaluations": atoms.calc.evaluations, "cpu_seconds": seconds,
            **_judged(case, frames, atoms)}  # fmt: skip


def strides(
    case: Case, way: str, base: str, stride_fs: float, length_ps: float, file: Path
) -> dict[str, Any]:
    """Jumps on what was learned, or on the base alone, from where Verlet begins too."""
    atoms = case.atoms(0)
    potential: Any = case.base(base, atoms)
    if way == "learned":
        potential = load_model(file, "cpu", **({} if potential is None else {"base": potential}))
    frames = [(atoms.get_positions(), atoms.get_momenta())]
    dynamics = KStepDynamics(
        atoms, potential, k=round(stride_fs / case.base_fs), timestep=case.base_fs * units.fs
    )
    began = time.process_time()
    for _ in range(round(1000 * length_ps / case.frame_fs)):
        dynamics.run(round(case.frame_fs / stride_fs))
        frames.append((atoms.get_positions(), atoms.get_momenta()))
    seconds = time.process_time() - began
    return {
        "way": way, "base": base, "stride_fs": stride_fs, "seed": 0,
        "corrector": type(dynamics.scheme.corrector).__name__,
        "evaluations": atoms.calc.evaluations, "cpu_seconds": seconds,
        "residual": 1e3 * (dynamics.stats.residual_rms or 0.0),
        "fallbacks": dynamics.stats.fallbacks, **_judged(case, frames, atoms),
    }  # fmt: skip


def _judged(case: Case, frames: list[tuple[Array, Array]], first: Atoms) -> dict[str, Any]:
    """True energies at the frames, radial distribution, vibrational density, diffusion."""
    atoms = first.copy()
    atoms.calc = case.physics()
    energies = []
    for positions, momenta in frames:
        atoms.set_positions(positions)
        atoms.set_momenta(momenta)
        energies.append(float(atoms.get_total_energy()))
    times = np.arange(len(frames)) * case.frame_fs * units.fs
    drift = energy_drift(times, np.array(energies), len(atoms))
    everything, path = np.arange(len(atoms)), np.array([x for x, _ in frames])
    structure = radial_distribution(
        path, atoms.cell.array, everything, everything, case.limit, BINS
    )
    spectrum = vibrational_density(
        np.array([p for _, p in frames]), atoms.get_masses(), times[1], case.resolution
    )
    found = {
        "drift": drift.drift, "fluctuation": drift.fluctuation,
        "rdf": structure.density.tolist(), "wavenumbers": spectrum.wavenumbers.tolist(),
        "vdos": spectrum.density.tolist(),
    }  # fmt: skip
    if case.lags is not None:
        start, end = (1000.0 * units.fs * lag for lag in case.lags)
        moved = self_diffusion(path, times[1], start, end, blocks=5)
        found["diffusion_A2_per_ps"] = [moved.coefficient, moved.error]
    return found


def overlaps(row: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The row without its curves, which are compared with those of another run."""
    curves = ("rdf", "vdos", "wavenumbers")
    shell = ((np.arange(BINS) + 0.5) / BINS) ** 2
    one, two = (shell * np.array(run["rdf"]) for run in (row, other))
    first, second = (
        Spectrum(np.array(run["wavenumbers"]), np.array(run["vdos"])) for run in (row, other)
    )
    return {name: value for name, value in row.items() if name not in curves} | {
        "rdf_overlap": float(2.0 * np.minimum(one, two).sum() / (one + two).sum()),
        "vdos_overlap": spectral_overlap(first, second),
    }
