"""Crystalline copper under EMT: learned strides at constant energy, and Metropolized ones.

Potentials learn from nothing and from a Morse potential, which is also judged as it is. Copper's
fastest mode takes some 130 fs: Verlet itself is sound to 16 fs.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from benchmarks.cells_nve import Case, nve
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics, Learning
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.potentials import Potential
from kstep_integrators.testing.block_averages import z_score

__all__ = ["copper"]

TEMPERATURE, LATTICE = 600.0, 3.65
"""K; angstrom, of a warm crystal."""
BASE_FS, BLOCKS = 2.0, 16
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
STEPS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Of Verlet, fs."""


def case(cells: int) -> Case:
    """Copper, how it begins and is looked at."""
    return Case(
        functools.partial(crystal, cells), EMT, {"Morse": morse}, BASE_FS,
        frame_fs=32.0,  # up to 521 cm^-1, twice the fastest mode
        limit=5.4,  # three shells of neighbours
        resolution=40.0, residuals=(40.0, 25.0, 15.0, 10.0),
    )  # fmt: skip


def copper(options: CopperOptions) -> dict[str, Any]:
    """Energy, structure and vibrations by stride; averages at constant temperature."""
    size, length, labels = options.cells, options.length_ps, options.labels
    folder = options.cache / f"copper-{size}-{labels}-{length:g}"
    result: dict[str, Any] = {
        "atoms": 4 * size**3, "temperature_K": TEMPERATURE, "base_fs": BASE_FS,
        "length_ps": length, **nve(case(size), STRIDES, STEPS, labels, length, folder),
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
