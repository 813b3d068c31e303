"""Replicas of a molecule under every thermostat and corrector, sampled for their energies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kstep_integrators import FlowJump, named_molecule, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import make_corrector
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.mechanics.degrees_of_freedom import degrees_of_freedom, free_motion
from kstep_integrators.potentials import Potential
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing.energies import Samples
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.thermostats import Bussi, Langevin, Thermostat

__all__ = ["MORSE_RUNS", "BathRun", "morse_water", "sample_energies"]

FS = units.FS


@dataclass(frozen=True)
class Berendsen:
    """Weak coupling, which no ensemble belongs to: a control that has to fail.

    Berendsen et al., doi:10.1063/1.448118.

    Parameters
    ----------
    temperature_K : float
    taut : float
        Relaxation time, ASE time units.

    Examples
    --------
    >>> Berendsen(300.0, 20.0).describe()
    {'thermostat': 'berendsen', 'temperature_K': 300.0, 'taut': 20.0}
    """

    temperature_K: float
    taut: float

    def check(self, state: PhaseState) -> None:
        """Every state will do."""

    def half_step(
        self,
        state: PhaseState,
        stride: float,
        rng: np.random.Generator | Sequence[np.random.Generator],
    ) -> PhaseState:
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
class BathRun:
    """A thermostat with a corrector, and how its replicas are sampled.

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
        """True if the total momenta stay what they are, which is zero."""
        return self.thermostat != "langevin"


def sample_energies(
    run: BathRun,
    temperature: float,
    state: PhaseState,
    potential: Potential,
    physics: Any,
    seed: int,
) -> tuple[Samples, dict[str, Any]]:
    """Energies of replicas, equilibrated with a Langevin bath, at equal intervals.

    Parameters
    ----------
    run : BathRun
    temperature : float
        K.
    state : PhaseState
        Replicas of one molecule; momenta are drawn anew.
    potential, physics
        Of the jumps, and of their corrections.
    seed : int

    Returns
    -------
    Samples
    dict
        ``accepted`` (a fraction, or None without a Metropolis test) and ``fallbacks``.
    """
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
    point = start(state, first, run.k)
    for _ in range(run.equilibration):
        point, _ = step(point, first, run.k, rng)
    if run.conserving:
        momenta = free_motion(point.state).momenta
        point = dataclasses.replace(point, state=point.state.replace(momenta=momenta))
    scheme = dataclasses.replace(first, thermostat=THERMOSTATS[run.thermostat](temperature))
    energies, accepted, fallbacks = [], [], 0
    for number in range(1, (run.frames + 2) * run.every + 1):
        point, info = step(point, scheme, run.k, rng)
        fallbacks += len(info.fallbacks) + len(info.lost)
        if info.verdict is not None:
            accepted.append(float((info.verdict.accepted_at > 0).double().mean()))
        # Two intervals for the change of the bath.
        if number % run.every == 0 and number > 2 * run.every:
            inner = point.inner if point.inner is not None else scheme.jump.begin(point.state)
            if inner is None:
                raise TypeError("the jump has no potential whose energies could be sampled")
            kinetic = kinetic_energy(point.state)
            energies.append(torch.stack([kinetic, point.physics.energy, inner.energy]).numpy())
    stacked = np.array(energies)
    atoms = len(state.numbers) // state.n_molecules
    degrees = degrees_of_freedom(
        atoms, momentum_conserved=run.conserving, angular_momentum_conserved=run.conserving
    )
    samples = Samples(
        temperature, atoms, degrees, stacked[:, 0], stacked[:, 1], inner=stacked[:, 2]
    )
    return samples, {
        "accepted": float(np.mean(accepted)) if accepted else None,
        "fallbacks": fallbacks,
    }


LONG: dict[str, Any] = {
    "metropolize": True,
    "k": 26,
    "timestep_fs": 0.5,
    "equilibration": 30,
    "every": 8,
}
MORSE_RUNS = {
    f"{bath}-{name}": BathRun(bath, corrector, **settings)
    for bath in ("langevin", "bussi")
    for name, corrector, settings in (
        ("impulse", "impulse", {}),
        ("filtered", "filtered", {}),
        ("none", "none", {}),
        ("none-metropolized", "none", LONG),
    )
}
MORSE_RUNS["berendsen-impulse"] = BathRun("berendsen", "impulse")


def morse_water(run: BathRun, temperature: float, seed: int) -> tuple[Samples, dict[str, Any]]:
    """Water with Morse springs of 2 eV as the physics, of 1.9 eV as the potential.

    Examples
    --------
    >>> run = BathRun("langevin", "impulse", equilibration=1, every=1, replicas=3, frames=2)
    >>> samples, _ = morse_water(run, 300.0, seed=0)
    >>> samples.kinetic.shape, samples.degrees
    ((2, 3), 9)
    """
    atoms = named_molecule("water")
    x = torch.from_numpy(atoms.positions)
    potential, physics = (Surface(morse(x, depth), len(x)) for depth in (1.9, 2.0))
    state = join_states([state_from_atoms(atoms)] * run.replicas)
    return sample_energies(run, temperature, state, potential, physics, seed)
