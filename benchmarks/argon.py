"""Liquid argon at constant pressure and at constant volume, against OpenMM and the literature.

The physics is the Lennard-Jones fluid with the correction for what lies beyond the cutoff, by
OpenMM. Jumps move on bases that are wrong on purpose; OpenMM's own Langevin dynamics and barostat
sample the same System beside them. Every run is one chain, and its errors come from blocks of it.
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
from ase.md.velocitydistribution import thermalize_momenta
from numpy.typing import NDArray

from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.testing.block_averages import z_score
from kstep_integrators.testing.energies import Samples, kinetic_checks, npt_checks

__all__ = ["argon", "fluid", "fluid_system"]

Array = NDArray[np.float64]
SIGMA, EPSILON_K, CUTOFF, SMOOTH_FROM = 3.405, 119.8, 7.5, 6.5
"""angstrom; K; angstrom; angstrom."""
THINNED = 10
"""Frames from one to the next that `physical_validation` is shown."""
MELTING = 10_000
"""Steps of 4 fs."""
MASS, COUNT, BLOCKS = 39.948, 108, 16
GRAMS_PER_CM3 = 1e27 / units.kg
"""One u/angstrom^3."""
STATES = ((150.0, 400.0), (160.0, 400.0), (150.0, 500.0), (160.0, 500.0))
"""Temperature, K, and pressure, bar."""
LENGTH = (COUNT / 0.7133) ** (1 / 3) * SIGMA
"""Edge of the cell at constant volume, angstrom: the density of the first state."""
LITERATURE = {
    (150.0, 400.0): (0.71330, -4.8104),
    (160.0, 400.0): (0.68550, -4.5856),
    (150.0, 500.0): (0.73514, -4.9456),
    (160.0, 500.0): (0.71008, -4.7383),
}
"""N sigma^3 / V and U / (N epsilon) of an infinite system at each state.

Kolafa & Nezbeda, doi:10.1016/0378-3812(94)80001-4, as the package teqp 0.23.2 computes them.
"""
BASES = {
    "weak": "well 8 % too shallow",
    "soft": "Morse of the right curvature",
}
LONG: dict[str, Any] = {"k": 4, "timestep": 8 * units.fs, "corrector": "none"}
WAYS: dict[str, dict[str, Any]] = {
    "metropolis": {**LONG, "metropolize": True},
    "impulse": {"k": 3, "timestep": 5 * units.fs, "corrector": "impulse"},
    "base alone": LONG,
}
"""Jumps of 32 fs under the test; kicks around jumps of 15 fs; the base with nothing against it."""


def fluid_system(
    barostat: tuple[float, float] | None = None, base: str = "", smooth: bool = False
) -> openmm.System:
    """The fluid, or a base of it, ``"weak"`` or ``"soft"``; smooth: its energy has no steps."""
    system, nm = openmm.System(), 0.1
    if base == "soft":
        # Depth, place and curvature of the minimum: a = 6 / r0.
        pair = openmm.CustomNonbondedForce("D*((1-exp(-a*(r-r0)))^2-1)")
        low = 2.0 ** (1 / 6) * SIGMA * nm
        for name, value in (("D", _well(1.0)), ("r0", low), ("a", 6.0 / low)):
            pair.addGlobalParameter(name, value)
        parameters: list[Any] = [[]]
        pair.setUseLongRangeCorrection(True)
    else:
        pair = openmm.NonbondedForce()
        pair.setUseDispersionCorrection(True)
        parameters = [0.0, SIGMA * nm, _well(0.92 if base else 1.0)]
    for _ in range(COUNT):
        system.addParticle(MASS)
        pair.addParticle(*parameters)
    pair.setNonbondedMethod(pair.CutoffPeriodic)
    pair.setCutoffDistance(CUTOFF * nm)
    if smooth:
        pair.setUseSwitchingFunction(True)
        pair.setSwitchingDistance(SMOOTH_FROM * nm)
    system.addForce(pair)
    system.setDefaultPeriodicBoxVectors(*(LENGTH * nm * np.eye(3)))
    if barostat is not None:
        temperature, pressure = barostat
        system.addForce(openmm.MonteCarloBarostat(pressure, temperature, 20))
    return system


def _well(share: float) -> float:
    """A part of epsilon, kJ/mol."""
    return float(share * EPSILON_K * units.kB / (units.kJ / units.mol))


def _context(temperature: float, system: openmm.System, seed: int) -> openmm.Context:
    """Langevin dynamics of 4 fs from a crystal at the liquid's density, which melts at once."""
    for force in system.getForces():
        if isinstance(force, openmm.MonteCarloBarostat):
            force.setRandomNumberSeed(seed)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 1.0, 0.004)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
    context.setPositions((bulk("Ar", cubic=True, a=LENGTH / 3) * (3, 3, 3)).positions / units.nm)
    context.setVelocitiesToTemperature(temperature, seed)
    integrator.step(MELTING)
    return context


def fluid(temperature: float, seed: int) -> Atoms:
    """The liquid at the density of the first state, with momenta."""
    state = _context(temperature, fluid_system(), seed).getState(positions=True)
    places = state.getPositions(asNumpy=True).value_in_unit(openmm.unit.angstrom)
    atoms = Atoms(f"Ar{COUNT}", places, cell=LENGTH * np.eye(3), pbc=True)
    atoms.set_masses(np.full(COUNT, MASS))
    thermalize_momenta(atoms, temperature_K=temperature, rng=np.random.default_rng(seed))
    return atoms


def _jumps(
    way: str, base: str, temperature: float, pressure: float | None, strides: int, seed: int
) -> dict[str, Any]:
    """Volumes, potential and kinetic energies after each stride, and what the run counted."""
    rng = np.random.default_rng(seed)
    atoms = fluid(temperature, seed)
    atoms.calc = OpenMMCalculator(fluid_system(), "CPU")
    potential = CalculatorPotential(OpenMMCalculator(fluid_system(base=base), "CPU"))
    under: dict[str, Any] = {}
    if pressure is not None:
        under = {"pressure": pressure * units.bar, "barostat_interval": 2}
    dynamics = KStepDynamics(
        atoms, potential, temperature_K=temperature, friction=0.002 / units.fs, rng=rng,
        **WAYS[way], **under,
    )  # fmt: skip
    rows: list[tuple[float, float, float]] = []

    def look() -> None:
        rows.append((atoms.get_volume(), atoms.get_potential_energy(), atoms.get_kinetic_energy()))

    began = time.perf_counter()
    dynamics.run(max(strides // 10, 210))  # beyond the moves that adapt their size
    dynamics.attach(look)
    dynamics.run(strides)
    stats = dynamics.stats
    return {
        "rows": np.array(rows).round(6).tolist(),
        "accepted": stats.accepted / stats.jumps if WAYS[way].get("metropolize") else None,
        "volume_accepted": stats.volume_accepted / max(stats.volume_moves, 1),
        "evaluations": stats.physics_evaluations,
        "seconds": time.perf_counter() - began,
    }


def _openmm(temperature: float, pressure: float | None, frames: int, seed: int) -> dict[str, Any]:
    """The same from OpenMM alone: Langevin dynamics of 4 fs, a frame each 100 fs."""
    system = fluid_system(None if pressure is None else (temperature, pressure))
    context = _context(temperature, system, seed)
    integrator = context.getIntegrator()
    rows, kj = [], units.kJ / units.mol
    began = time.perf_counter()
    for _ in range(frames):
        integrator.step(25)
        state = context.getState(energy=True)
        volume = state.getPeriodicBoxVolume().value_in_unit(openmm.unit.angstrom**3)
        energies = [
            kj * energy.value_in_unit(openmm.unit.kilojoule_per_mole)
            for energy in (state.getPotentialEnergy(), state.getKineticEnergy())
        ]
        rows.append((volume, *energies))
    seconds = time.perf_counter() - began
    return {"rows": np.array(rows).round(6).tolist(), "seconds": seconds}


def _averages(run: dict[str, Any]) -> dict[str, list[float]]:
    """Means and their errors, from blocks: density, energy per atom, width of the volume."""
    volume, energy, kinetic = np.array(run["rows"]).T
    values = {
        "density_g_per_cm3": COUNT * MASS / volume * GRAMS_PER_CM3,
        "energy_meV_per_atom": 1e3 * energy / COUNT,
        "volume_variance_A6": (volume - volume.mean()) ** 2,
        "kinetic_K": 2.0 * kinetic / (3 * COUNT * units.kB),
    }
    result = {}
    for name, value in values.items():
        blocks = np.array([part.mean() for part in np.array_split(value, BLOCKS)])
        result[name] = [float(value.mean()), float(blocks.std(ddof=1) / BLOCKS**0.5)]
    return result


def _against(one: dict[str, list[float]], other: dict[str, list[float]]) -> dict[str, float]:
    """Differences of what both have, in standard errors."""
    return {
        name: z_score(*one[name], *other[name], BLOCKS)
        for name in ("density_g_per_cm3", "energy_meV_per_atom", "volume_variance_A6")
        if other[name][1] > 0.0
    }


def _samples(run: dict[str, Any], temperature: float, pressure: float | None) -> Samples:
    # The checks keep what is independent, which is less than this, and take minutes to find it.
    volume, energy, kinetic = (column[:, None] for column in np.array(run["rows"])[::THINNED].T)
    if pressure is None:
        return Samples(temperature, COUNT, 3 * COUNT, kinetic, energy, energy)
    return Samples(
        temperature, COUNT, 3 * COUNT, kinetic, energy, energy, volume, pressure * units.bar
    )  # fmt: skip


def _ensembles(runs: dict[tuple[float, float], dict[str, Any]]) -> list[dict[str, Any]]:
    """Every pair of states: by enthalpy, by volume, by both, in standard errors."""
    rows = []
    for i, one in enumerate(STATES):
        for other in STATES[i + 1 :]:
            pair = [_samples(runs[state], *state) for state in (one, other)]
            # What the check sees: the same data, with a state that is declared wrong by 5 %.
            row = {"states": [one, other], "sigma": npt_checks(*pair)}
            rows.append(row | {"sigma_5_percent_off": npt_checks(*pair, off=1.05)})
    return rows


@dataclass(frozen=True)
class ArgonOptions(Options):
    """Lengths."""

    strides: int = option(16000, "of each run at one of the four states, half in others")
    frames: int = option(20000, "of each run of OpenMM, 100 fs each")

    @classmethod
    def smoke(cls, cache: Path) -> ArgonOptions:
        """Lengths at which the checks find enough to compare."""
        return cls(cache, 1500, 1500)


def argon(options: ArgonOptions) -> dict[str, Any]:
    """Density, energy and ensembles at two temperatures and two pressures."""
    folder = options.cache / f"argon-{options.strides}-{options.frames}"
    references, rows, runs = {}, [], {}
    for seed, state in enumerate(((150.0, None), *STATES), 1):
        make = functools.partial(_openmm, *state, options.frames, seed)
        references[state] = kept(folder / f"openmm-{state[0]:g}-{state[1]}.json", make)
    plan: list[tuple[str, str, tuple[float, float | None]]] = [
        *(("metropolis", "weak", state) for state in STATES),
        *((way, "weak", STATES[0]) for way in ("impulse", "base alone")),
        ("metropolis", "soft", STATES[0]), ("metropolis", "soft", STATES[3]),
        ("metropolis", "weak", (150.0, None)),
    ]  # fmt: skip
    for seed, (way, base, state) in enumerate(plan, 101):
        # Those whose ensembles are checked in pairs are twice as long as the others.
        strides = options.strides // (1 if seed <= 100 + len(STATES) else 2)
        make = functools.partial(_jumps, way, base, *state, strides, seed)
        run = kept(folder / f"{way.replace(' ', '-')}-{base}-{state[0]:g}-{state[1]}.json", make)
        runs[way, base, state] = run
        mine, known = _averages(run), _averages(references[state])
        rows.append({
            "jumps": way, "strides": strides, "base": BASES[base],
            "temperature_K": state[0], "pressure_bar": state[1],
            **{key: value for key, value in run.items() if key != "rows"},
            "averages": mine, "openmm": known, "sigma": _against(mine, known),
            "kinetic": kinetic_checks(_samples(run, *state), correlated=True),
        })  # fmt: skip
    tested = {state: runs["metropolis", "weak", state] for state in STATES}
    by_pressure = [state for state in references if state[1] is not None]
    literature = [
        {
            "temperature_K": state[0], "pressure_bar": state[1],
            "density_g_per_cm3": LITERATURE[state][0] * MASS / SIGMA**3 * GRAMS_PER_CM3,
            "energy_meV_per_atom": 1e3 * LITERATURE[state][1] * EPSILON_K * units.kB,
        }
        for state in by_pressure
    ]  # fmt: skip
    return {
        "atoms": COUNT,
        "strides": options.strides,
        "openmm_frames": options.frames,
        "rows": rows,
        "literature": literature,
        "ensembles": _ensembles(tested),
        "openmm_ensembles": _ensembles({state: references[state] for state in STATES}),
    }
