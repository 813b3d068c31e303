"""What the arguments of a run come to: all parts of its steps but the atoms and the physics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kstep_integrators import units
from kstep_integrators.arguments import positive_integer
from kstep_integrators.correctors import Corrector, make_corrector
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.physics.evaluation import Physics
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import PhaseState
from kstep_integrators.step.guard import Control, Guard
from kstep_integrators.step.metropolis import Metropolis, make_metropolis
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.step.tuning import StrideTuning
from kstep_integrators.thermostats import Thermostat, make_thermostat

__all__ = ["Method", "check_strides", "make_method", "make_rng", "shortest_part"]


@dataclass(frozen=True)
class Method:
    """How a run moves, whatever it moves.

    Attributes
    ----------
    k : int
        Base steps per stride, or of the first to be tried.
    tuning : StrideTuning or None
        Strides to be tried in a burn-in.
    jump : Jump
    corrector : Corrector
    thermostat : Thermostat
    control : Control
    metropolis : Metropolis or None
    """

    k: int
    tuning: StrideTuning | None
    jump: Jump
    corrector: Corrector
    thermostat: Thermostat
    control: Control
    metropolis: Metropolis | None

    def check(self, state: PhaseState) -> None:
        """Refuse atoms that the parts of a step cannot act on.

        Raises
        ------
        ValueError
            The message says which part, why, and what to do.
        """
        self._check_bonds(state)
        self.jump.bind(state)
        self.thermostat.check(state)

    def _check_bonds(self, state: PhaseState) -> None:
        if state.bonds is None:
            return
        count = len(state.bonds)
        if self.corrector.name == "filtered":
            raise ValueError(
                f"the corrector 'filtered' with {count} bonds of fixed length: its modes are those "
                "of free atoms, and it has not been validated with constraints; use 'impulse' or "
                "'none', or remove FixBondLengths"
            )
        if self.metropolis is not None:
            raise ValueError(
                f"metropolize=True with {count} bonds of fixed length: that the test is exact with "
                "constraints has not been validated; leave metropolize out, or remove "
                "FixBondLengths"
            )

    def bind(self, state: PhaseState, physics: Physics) -> Scheme:
        """The scheme of a step of these atoms; refuses what the jump does not cover."""
        self._check_bonds(state)
        return Scheme(
            jump=self.jump.bind(state),
            corrector=self.corrector,
            thermostat=self.thermostat,
            physics=physics,
            timestep=self.jump.timestep,
            control=self.control,
            metropolis=self.metropolis,
            shortest=shortest_part(self.k, self.jump.strides),
        )


def make_method(
    model: Jump | Potential | str | Path,
    k: int | StrideTuning,
    timestep: float | None,
    corrector: str | Corrector | None,
    thermostat: str | None,
    temperature_K: float | None,
    friction: float | None,
    taut: float | None,
    metropolize: bool,
    extra_chances: int,
    on_error: str,
    energy_tolerance: float | None,
    force_tolerance: float | None,
    guard: Guard | None,
    device: str,
) -> Method:
    """Parts of a step from the arguments of :class:`~kstep_integrators.ase.KStepDynamics`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; each message says what was given and what to do.
    """
    if timestep is not None and not (math.isfinite(timestep) and timestep > 0):
        raise ValueError(f"timestep is {timestep}, expected a positive number of ASE time units")
    jump = make_jump(model, timestep, device)
    bath = make_thermostat(thermostat, temperature_K, friction, taut)
    control = Control(
        on_error, energy_tolerance, force_tolerance, Guard() if guard is None else guard
    )
    tuning = k if isinstance(k, StrideTuning) else None
    if tuning is not None and not metropolize:
        raise ValueError(
            "k=StrideTuning(...) without metropolize=True: a stride is tuned by the acceptance of "
            "a Metropolis test; pass an integer, or metropolize=True"
        )
    if metropolize and not jump.reversible:
        raise ValueError(
            "metropolize=True with a jump that is neither time-reversible nor volume-preserving "
            f"({jump.describe()}): accepting it by the change of energy would not give the "
            "canonical ensemble; use a potential, or leave metropolize out"
        )
    first = positive_integer(
        "k",
        k if tuning is None else tuning.candidates[0],
        "base steps per jump; or pass a StrideTuning",
    )
    check_strides(first, jump, on_error)
    _check_tolerances(control, jump)
    return Method(
        k=first,
        tuning=tuning,
        jump=jump,
        corrector=make_corrector(corrector or jump.correctors[0], jump.correctors),
        thermostat=bath,
        control=control,
        metropolis=(
            make_metropolis(temperature_K, extra_chances, bath, control) if metropolize else None
        ),
    )


def shortest_part(k: int, strides: tuple[int, ...] | None) -> int:
    """What k is halved down to, if need be: 1, or the last half that a jump can make.

    Parameters
    ----------
    k : int
        Base steps.
    strides : tuple of int or None
        Those that the jump can make; None for any.
    """
    if strides is None:
        return 1
    while k % 2 == 0 and k // 2 in strides:
        k //= 2
    return k


def _check_tolerances(control: Control, jump: Jump) -> None:
    """Refuse tolerances that nothing would ever be beyond."""
    asked = {
        "energy_tolerance": (control.energy_tolerance, "energy"),
        "force_tolerance": (control.force_tolerance, "forces"),
    }
    for name, (value, what) in asked.items():
        if value is not None and what not in jump.predicts:
            raise ValueError(
                f"{name}={value}, but this jump does not predict the {what} at its landing "
                f"({jump.describe()}): there is nothing to be off; leave it out, and set limits "
                "with guard=Guard(...)"
            )


def check_strides(k: int, jump: Jump, on_error: str) -> None:
    """Refuse a stride that the jump cannot make, or cannot halve where it may have to.

    Parameters
    ----------
    k : int
        Base steps.
    jump : Jump
    on_error : str
        What is done about errors; see :class:`~kstep_integrators.step.guard.Control`.

    Raises
    ------
    ValueError
        With the strides that it can make.
    """
    if jump.strides is None:
        return
    if k not in jump.strides:
        raise ValueError(
            f"k={k}, but this jump can make strides of {list(jump.strides)} base steps of "
            f"{jump.timestep / units.FS:g} fs and no others: choose one of these"
        )
    if on_error == "shrink" and shortest_part(k, jump.strides) == k:
        raise ValueError(
            f"on_error='shrink' with k={k}: a stride is halved, but this jump can make strides of "
            f"{list(jump.strides)} base steps only; use on_error='fallback', or a k whose half is "
            "among them"
        )


def make_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator given, or a fresh one.

    Raises
    ------
    TypeError
        If it is not a generator of numpy.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}, expected numpy.random.default_rng(seed)")
    return np.random.default_rng() if rng is None else rng
