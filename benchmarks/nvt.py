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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import physical_validation
import torch
from numpy.typing import NDArray

from benchmarks.common import write_result
from benchmarks.list_physics import ListPhysics, joined
from benchmarks.surfaces import Surface, morse
from kstep_integrators import FlowJump, load_model, named_molecule, units
from kstep_integrators.correctors import make_corrector
from kstep_integrators.mechanics.degrees_of_freedom import degrees_of_freedom, free_motion
from kstep_integrators.potentials import Potential
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.thermostats import Bussi, Langevin, Thermostat

__all__ = [
    "MORSE_RUNS",
    "Berendsen",
    "Run",
    "Samples",
    "ensemble_check",
    "kinetic_checks",
    "sample",
    "simulation_data",
    "suggested_temperature",
]

Array = NDArray[np.float64]
FS = units.FS
COLD = 300.0


@dataclass(frozen=True)
class Berendsen:
    """Weak coupling, which no ensemble belongs to: a control that has to fail.

    Berendsen et al., doi:10.1063/1.448118.
    """

    temperature_K: float
    taut: float

    def check(self, state: PhaseState) -> None:
        """Every state will do."""

    def half_step(self, state: PhaseState, stride: float, rng: np.random.Generator) -> PhaseState:
        """Scale the momenta of every molecule towards the temperature."""
        degrees = free_motion(state).degrees
        ratio = 0.5 * degrees * units.KB * self.temperature_K / kinetic_energy(state)
        scale = (1.0 + 0.5 * stride / self.taut * (ratio - 1.0)).sqrt()
        return state.replace(momenta=scale[state.batch, None] * state.momenta)

    def describe(self) -> dict[str, Any]:
        """Name, temperature and relaxation time."""
        return {"thermostat": "berendsen", **dataclasses.asdict(self)}


THERMOSTATS: dict[str, Callable[[float], Thermostat]] = {
    "langevin": lambda temperature: Langevin(temperature, 0.1 / FS),
    "bussi": lambda temperature: Bussi(temperature, 10.0 * FS),
    "berendsen": lambda temperature: Berendsen(temperature, 20.0 * FS),
}


@dataclass(frozen=True)
class Run:
    """What is run, and how it is sampled.

    Attributes
    ----------
    thermostat : str
    corrector : str
    metropolize : bool
    k : int
    timestep_fs : float
    equilibration, every : int
        Strides before the first frame, and between frames.
    replicas, frames : int
    """

    thermostat: str
    corrector: str
    metropolize: bool = False
    k: int = 8
    timestep_fs: float = 0.25
    equilibration: int = 150
    every: int = 40
    replicas: int = 200
    frames: int = 8

    @property
    def conserving(self) -> bool:
        """Whether the total momenta stay what they are, which is zero."""
        return self.thermostat != "langevin"


@dataclass(frozen=True)
class Samples:
    """Energies at one temperature, (frames, replicas) eV.

    Attributes
    ----------
    kinetic, potential, inner : (frames, replicas)
        ``potential`` of the physics, ``inner`` of the jump's potential.
    """

    temperature_K: float
    atoms: int
    degrees: int
    kinetic: Array
    potential: Array
    inner: Array

    @property
    def correlation(self) -> float:
        """The largest correlation of an energy with itself one frame before."""
        found = []
        for energy in (self.kinetic, self.potential):
            d = energy - energy.mean()
            found.append(float((d[1:] * d[:-1]).mean() / np.square(d).mean()))
        return max(found)


def sample(
    run: Run, temperature: float, state: PhaseState, potential: Potential, physics: Any, seed: int
) -> tuple[Samples, dict[str, Any]]:
    """Run replicas, first with a Langevin bath, and look at them now and then."""
    rng = np.random.default_rng(seed)
    timestep = run.timestep_fs * FS
    jump = FlowJump(potential, timestep)
    noise = torch.from_numpy(rng.standard_normal(state.momenta.shape))
    state = state.replace(momenta=(units.KB * temperature * state.masses).sqrt() * noise)
    first = BoundScheme(
        jump=jump.bind(state),
        corrector=make_corrector(run.corrector, jump.correctors),
        thermostat=Langevin(temperature, 0.1 / FS),
        physics=physics,
        timestep=timestep,
        metropolis=Metropolis(temperature) if run.metropolize else None,
    )
    carry = start(state, first)
    for _ in range(run.equilibration):
        carry, _ = step(carry, first, run.k, rng)
    if run.conserving:
        momenta = free_motion(carry.state).momenta
        carry = dataclasses.replace(carry, state=carry.state.replace(momenta=momenta))
    scheme = dataclasses.replace(first, thermostat=THERMOSTATS[run.thermostat](temperature))
    energies, accepted, fallbacks = [], [], 0
    for number in range(1, (run.frames + 2) * run.every + 1):
        carry, info = step(carry, scheme, run.k, rng)
        fallbacks += len(info.fallbacks) + len(info.lost)
        if info.verdict is not None:
            accepted.append(float((info.verdict.accepted_at > 0).double().mean()))
        # Two intervals for the change of the bath.
        if number % run.every == 0 and number > 2 * run.every:
            inner = carry.inner if carry.inner is not None else scheme.jump.begin(carry.state)
            kinetic = kinetic_energy(carry.state)
            energies.append(torch.stack([kinetic, carry.physics.energy, inner.energy]).numpy())
    stacked = np.array(energies)
    atoms = len(state.numbers) // state.n_molecules
    degrees = degrees_of_freedom(
        atoms, momentum_conserved=run.conserving, angular_momentum_conserved=run.conserving
    )
    samples = Samples(temperature, atoms, degrees, *(stacked[:, i] for i in range(3)))
    return samples, {
        "accepted": float(np.mean(accepted)) if accepted else None,
        "fallbacks": fallbacks,
    }


def simulation_data(
    temperature: float, atoms: int, degrees: int, kinetic: Array, potential: Array | None = None
) -> Any:
    """Energies in eV as physical_validation takes them."""
    data = physical_validation.data
    # It wants the lost degrees of freedom apart, and all that counts is their sum.
    lost = 3 * atoms - degrees
    return data.SimulationData(
        units=data.UnitData(
            kb=units.KB,
            energy_str="eV",
            energy_conversion=1.0 / units.KJ_PER_MOL,
            length_str="A",
            length_conversion=0.1,
            volume_str="A^3",
            volume_conversion=1e-3,
            temperature_str="K",
            temperature_conversion=1.0,
            pressure_str="bar",
            pressure_conversion=1.0,
            time_str="ps",
            time_conversion=1.0,
        ),
        ensemble=data.EnsembleData("NVT", natoms=atoms, volume=1.0, temperature=temperature),
        system=data.SystemData(
            natoms=atoms,
            nconstraints=0,
            ndof_reduction_tra=min(lost, 3),
            ndof_reduction_rot=max(lost - 3, 0),
        ),
        observables=data.ObservableData(
            kinetic_energy=kinetic.ravel(),
            potential_energy=None if potential is None else potential.ravel(),
            total_energy=None if potential is None else (kinetic + potential).ravel(),
        ),
    )


def _data(samples: Samples, inner: bool = False, off: float = 1.0) -> Any:
    """All frames of all replicas; ``off`` multiplies the temperature that is declared."""
    return simulation_data(
        off * samples.temperature_K,
        samples.atoms,
        samples.degrees,
        samples.kinetic,
        samples.inner if inner else samples.potential,
    )


def suggested_temperature(samples: Samples) -> float:
    """The second temperature of an ensemble check, K."""
    found = physical_validation.ensemble.estimate_interval(
        _data(samples), verbosity=0, data_is_uncorrelated=True
    )
    return samples.temperature_K + round(float(found["dT"]))


def kinetic_checks(samples: Samples, off: float = 1.0) -> dict[str, float]:
    """P-value of the whole distribution, and deviations of mean and width in standard errors."""
    check, data = physical_validation.kinetic_energy.distribution, _data(samples, off=off)
    common = {"verbosity": 0, "data_is_uncorrelated": True}
    mean, width = check(data, strict=False, bootstrap_seed=1, **common)
    return {
        "strict_p_value": float(check(data, strict=True, **common)),
        "mean_sigma": float(mean),
        "width_sigma": float(width),
    }


def ensemble_check(
    one: Samples, other: Samples, total: bool = False, inner: bool = False, off: float = 1.0
) -> float:
    """Standard errors between ln P1(E)/P2(E) and its slope 1/kT2 - 1/kT1."""
    (quantile,) = physical_validation.ensemble.check(
        _data(one, inner),
        _data(other, inner, off),
        total_energy=total,
        verbosity=0,
        data_is_uncorrelated=True,
    )
    return float(quantile)


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


LONG = {"metropolize": True, "k": 26, "timestep_fs": 0.5, "equilibration": 30, "every": 8}
MORSE_RUNS = {
    f"{bath}-{name}": Run(bath, corrector, **settings)
    for bath in ("langevin", "bussi")
    for name, corrector, settings in (
        ("impulse", "impulse", {}),
        ("filtered", "filtered", {}),
        ("none", "none", {}),
        ("none-metropolized", "none", LONG),
    )
}
MORSE_RUNS["berendsen-impulse"] = Run("berendsen", "impulse")
GFN2_RUNS = {
    "gfn2-langevin-impulse": Run("langevin", "impulse", False, 4, 0.5, 25, 20, 40, 8),
    "gfn2-langevin-none-metropolized": Run("langevin", "none", True, 18, 0.5, 6, 4, 40, 8),
}


def morse_water(run: Run, temperature: float, seed: int) -> Any:
    """Springs of 2 eV as the physics, of 1.9 eV as the potential."""
    atoms = named_molecule("water")
    x = torch.from_numpy(atoms.positions)
    surfaces = [Surface(morse(x, depth), len(x)) for depth in (1.9, 2.0)]
    return sample(run, temperature, joined([atoms] * run.replicas), *surfaces, seed)


def gfn2_water(run: Run, temperature: float, seed: int) -> Any:
    """GFN2-xTB, with the bundled network as the potential."""
    from kstep_integrators.calculators import xtb_calculator

    molecules = [named_molecule("water") for _ in range(run.replicas)]
    shared = xtb_calculator("GFN2-xTB")
    for atoms in molecules:
        atoms.calc = shared
    model = load_model("organic-gfn2", dtype=torch.float64)
    return sample(run, temperature, joined(molecules), model, ListPhysics(molecules), seed)


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
