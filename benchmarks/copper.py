"""Crystalline copper under EMT: learned strides at constant energy, and Metropolized ones.

A potential learns from nothing, and is then judged at several strides beside a Morse potential that
learns nothing and velocity Verlet on EMT. Copper's fastest mode takes some 130 fs: Verlet itself is
sound to 16 fs. Energies are computed anew by EMT at the positions of each run, every 32 fs,
whatever the run knows of them; structure and vibrations are compared with a fine run from another
start.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import openmm
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from benchmarks.learning import Watch, labels_until
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics, Learning, load_model
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.diagnostics import (
    energy_drift,
    radial_distribution,
    spectral_overlap,
    vibrational_density,
)
from kstep_integrators.diagnostics.spectra import Spectrum
from kstep_integrators.learning import AdaptedPotential
from kstep_integrators.potentials import Potential
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.testing.block_averages import z_score

__all__ = ["copper"]

Array = NDArray[np.float64]
TEMPERATURE, LATTICE = 600.0, 3.65
"""K; angstrom, of a warm crystal."""
BASE_FS, FRAME_FS = 2.0, 32.0
"""Inner step, and time between frames: up to 521 cm^-1, twice the fastest mode."""
LEARN_K, BLOCKS, BINS = 4, 16, 100
LIMIT, RESOLUTION = 5.4, 40.0
"""Of the radial distribution, angstrom: three shells of neighbours; of the spectrum, cm^-1."""
MORSE = {"D": 0.35 / (units.kJ / units.mol), "a": 16.0, "r0": 0.1 * LATTICE / 2**0.5}
"""kJ/mol, 1/nm, nm: nearest neighbours alone, with the stiffness of copper's fastest mode."""


@functools.cache
def _warm(cells: int, seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms: Atoms = bulk("Cu", cubic=True, a=LATTICE) * (cells, cells, cells)
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=2.0 * TEMPERATURE, rng=rng)
    bath = Langevin(atoms, 4.0 * units.fs, temperature_K=TEMPERATURE, friction=0.01 / units.fs,
                    fixcm=False, rng=rng)  # fmt: skip
    bath.run(125)
    Stationary(atoms, preserve_temperature=False)
    atoms.calc = None
    return atoms


def crystal(cells: int, seed: int) -> Atoms:
    """Copper, ``4 * cells**3`` atoms, after 0.5 ps of Langevin dynamics."""
    atoms: Atoms = _warm(cells, seed).copy()
    atoms.calc = EMT()
    return atoms


def morse(atoms: Atoms) -> Potential:
    """A Morse potential between nearest neighbours."""
    system = openmm.System()
    pair = openmm.CustomNonbondedForce("D*((1-exp(-a*(r-r0)))^2-1)")
    for name, value in MORSE.items():
        pair.addGlobalParameter(name, value)
    for mass in atoms.get_masses():
        system.addParticle(mass)
        pair.addParticle([])
    pair.setNonbondedMethod(pair.CutoffPeriodic)
    pair.setCutoffDistance(0.34)
    pair.setUseSwitchingFunction(True)
    pair.setSwitchingDistance(0.30)
    system.addForce(pair)
    system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / units.nm))
    return CalculatorPotential(OpenMMCalculator(system, "CPU"))


def learned(base: str, cells: int, labels: int, file: Path) -> dict[str, Any]:
    """Learn in strides that grow to 8 fs; the residual of each landing, and the model's file."""
    atoms = crystal(cells, 0)
    potential = morse(atoms) if base == "Morse" else None
    dynamics = KStepDynamics(
        atoms, potential, k=LEARN_K, timestep=BASE_FS * units.fs,
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
        "until": {str(x): labels_until(residuals, x) for x in (40, 25, 15, 10)},
        "fallbacks": dynamics.stats.fallbacks,
        "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def _judged(frames: list[tuple[Array, Array]], first: Atoms) -> dict[str, Any]:
    """True energies at the frames, radial distribution and vibrational density."""
    atoms = first.copy()
    atoms.calc = EMT()
    energies = []
    for positions, momenta in frames:
        atoms.set_positions(positions)
        atoms.set_momenta(momenta)
        energies.append(float(atoms.get_total_energy()))
    times = np.arange(len(frames)) * FRAME_FS * units.fs
    drift = energy_drift(times, np.array(energies), len(atoms))
    everything = np.arange(len(atoms))
    structure = radial_distribution(
        np.array([x for x, _ in frames]), atoms.cell.array, everything, everything, LIMIT, BINS
    )
    spectrum = vibrational_density(
        np.array([p for _, p in frames]), atoms.get_masses(), FRAME_FS * units.fs, RESOLUTION
    )
    return {
        "drift": drift.drift, "fluctuation": drift.fluctuation,
        "rdf": structure.density.tolist(), "wavenumbers": spectrum.wavenumbers.tolist(),
        "vdos": spectrum.density.tolist(),
    }  # fmt: skip


def verlet(cells: int, step_fs: float, seed: int, length_ps: float) -> dict[str, Any]:
    """Velocity Verlet on EMT."""
    atoms = crystal(cells, seed)
    atoms.calc = counted = CountingCalculator(EMT())
    frames: list[tuple[Array, Array]] = []
    dynamics = VelocityVerlet(atoms, step_fs * units.fs)
    dynamics.attach(
        lambda: frames.append((atoms.get_positions(), atoms.get_momenta())),
        interval=round(FRAME_FS / step_fs),
    )
    began = time.process_time()
    dynamics.run(round(1000 * length_ps / step_fs))
    seconds = time.process_time() - began
    return {"way": "Verlet", "base": None, "stride_fs": step_fs, "seed": seed,
            "evaluations": counted.evaluations, "cpu_seconds": seconds,
            **_judged(frames, atoms)}  # fmt: skip


def strides(
    way: str, base: str, cells: int, stride_fs: float, length_ps: float, file: Path
) -> dict[str, Any]:
    """Jumps on what was learned, or on the base alone, from where Verlet begins too."""
    atoms = crystal(cells, 0)
    potential: Any = morse(atoms) if base == "Morse" else None
    if way == "learned":
        part = {} if potential is None else {"base": potential}
        potential = load_model(file, "cpu", **part)
    atoms.calc = counted = CountingCalculator(EMT())
    frames = [(atoms.get_positions(), atoms.get_momenta())]
    dynamics = KStepDynamics(
        atoms, potential, k=round(stride_fs / BASE_FS), timestep=BASE_FS * units.fs
    )
    began = time.process_time()
    for _ in range(round(1000 * length_ps / FRAME_FS)):
        dynamics.run(round(FRAME_FS / stride_fs))
        frames.append((atoms.get_positions(), atoms.get_momenta()))
    seconds = time.process_time() - began
    return {
        "way": way, "base": base, "stride_fs": stride_fs, "seed": 0,
        "corrector": type(dynamics.scheme.corrector).__name__,
        "evaluations": counted.evaluations, "cpu_seconds": seconds,
        "residual": 1e3 * (dynamics.stats.residual_rms or 0.0),
        "fallbacks": dynamics.stats.fallbacks, **_judged(frames, atoms),
    }  # fmt: skip


def langevin(cells: int, steps: int) -> dict[str, Any]:
    """Potential energies by ASE's Langevin dynamics of 4 fs, every fourth step."""
    atoms, energies = crystal(cells, 11), list[float]()
    rng = np.random.default_rng(12)
    bath = Langevin(atoms, 4.0 * units.fs, temperature_K=TEMPERATURE, friction=0.005 / units.fs,
                    fixcm=False, rng=rng)  # fmt: skip
    bath.run(steps // 10)
    bath.attach(lambda: energies.append(float(atoms.get_potential_energy())), interval=4)
    bath.run(steps)
    return {"energies": energies, "evaluations": steps}


def metropolis(cells: int, jumps: int, stride_fs: float, labels: int) -> dict[str, Any]:
    """The same by Metropolized jumps, from nothing, after a burn-in that learned."""
    atoms, energies = crystal(cells, 21), list[float]()
    dynamics = KStepDynamics(
        atoms, None, k=round(stride_fs / BASE_FS), timestep=BASE_FS * units.fs, corrector="none",
        temperature_K=TEMPERATURE, friction=0.005 / units.fs, metropolize=True, extra_chances=0,
        learn=Learning(refit=False, stop=labels), rng=np.random.default_rng(22),
    )  # fmt: skip
    began = time.process_time()
    while dynamics.production_start is None:
        dynamics.run(1)
    dynamics.run(jumps // 20)
    accepted, evaluations = dynamics.stats.accepted, dynamics.stats.physics_evaluations
    burn_in = time.process_time() - began
    dynamics.attach(lambda: energies.append(float(atoms.get_potential_energy())))
    began = time.process_time()
    dynamics.run(jumps)
    return {
        "energies": energies, "stride_fs": dynamics.k * BASE_FS,
        "accepted": (dynamics.stats.accepted - accepted) / jumps,
        "burn_in_evaluations": evaluations,
        "evaluations": dynamics.stats.physics_evaluations - evaluations,
        "burn_in_cpu_seconds": burn_in, "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def _averages(energies: list[float], atoms: int) -> dict[str, list[float]]:
    """Potential energy and heat capacity with errors from blocks; meV and k per atom."""
    u = np.array(energies)
    square = (u - u.mean()) ** 2 / (units.kB * TEMPERATURE) ** 2
    values = {"energy_meV_per_atom": 1e3 * u / atoms, "heat_capacity_k": 1.5 + square / atoms}
    found = {}
    for name, value in values.items():
        blocks = np.array([part.mean() for part in np.array_split(value, BLOCKS)])
        found[name] = [float(value.mean()), float(blocks.std(ddof=1) / BLOCKS**0.5)]
    return found


def _apart(mine: list[float], other: list[float]) -> float:
    """Their difference in standard errors."""
    return z_score(mine[0], mine[1], other[0], other[1], BLOCKS)


def _overlaps(row: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
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


@dataclass(frozen=True)
class CopperOptions(Options):
    """Size and lengths."""

    cells: int = option(2, "cubic cells of four atoms along each edge")
    labels: int = option(40, "of the runs that learn")
    length_ps: float = option(1.024, "of each run at constant energy")
    steps: int = option(4000, "of Langevin dynamics, 4 fs each")
    jumps: int = option(300, "Metropolized, of 32 fs, after the burn-in; 0: no averages")

    @classmethod
    def smoke(cls, cache: Path) -> CopperOptions:
        """A few labels and jumps, and the shortest run that has a spectrum."""
        return cls(cache, 2, 4, 0.896, 64, 32)


STRIDES = {
    ("learned", "nothing"): (4.0, 8.0, 16.0, 32.0),
    ("learned", "Morse"): (8.0, 16.0),
    ("base alone", "Morse"): (8.0, 16.0),
}


def copper(options: CopperOptions) -> dict[str, Any]:
    """Energy, structure and vibrations by stride; averages at constant temperature."""
    size, length, labels = options.cells, options.length_ps, options.labels
    folder = options.cache / f"copper-{size}-{labels}-{length:g}"
    fine = kept(folder / "verlet-2-1.json", lambda: verlet(size, 2.0, 1, length))
    lessons, rows = [], []
    for (way, base), lengths in STRIDES.items():
        file = folder / f"{base}.safetensors"
        if way == "learned":
            make = functools.partial(learned, base, size, labels, file)
            lessons.append(kept(folder / f"learned-{base}.json", make))
        for stride in lengths:
            go = functools.partial(strides, way, base, size, stride, length, file)
            rows.append(kept(folder / f"{way.replace(' ', '-')}-{base}-{stride:g}.json", go))
    beside = [
        kept(folder / f"verlet-{step:g}-0.json", functools.partial(verlet, size, step, 0, length))
        for step in (2.0, 4.0, 8.0, 16.0, 32.0)
    ]
    result: dict[str, Any] = {
        "atoms": 4 * size**3, "temperature_K": TEMPERATURE, "base_fs": BASE_FS,
        "length_ps": length, "lessons": lessons,
        "nve": [_overlaps(row, fine) for row in (*beside, *rows)],
    }  # fmt: skip
    if options.jumps:
        result["nvt"] = _nvt(options, folder)
    return result


def _nvt(options: CopperOptions, folder: Path) -> dict[str, Any]:
    """Averages of both runs at constant temperature, and how far they are apart."""
    size = options.cells
    sampled = kept(
        folder / f"metropolis-{options.jumps}.json",
        lambda: metropolis(size, options.jumps, 32.0, options.labels),
    )
    known = kept(folder / f"langevin-{options.steps}.json", lambda: langevin(size, options.steps))
    mine, other = (_averages(run["energies"], 4 * size**3) for run in (sampled, known))
    return {
        **{name: value for name, value in sampled.items() if name != "energies"},
        "langevin_steps": options.steps, "averages": mine, "langevin": other,
        "sigma": {name: _apart(mine[name], other[name]) for name in mine},
    }  # fmt: skip
