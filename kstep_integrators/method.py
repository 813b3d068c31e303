"""What the arguments of a run come to: all parts of its steps but the atoms and the physics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kstep_integrators.control import Control, Guard
from kstep_integrators.correctors import Corrector, make_corrector
from kstep_integrators.evaluation import Physics
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.metropolis import Metropolis
from kstep_integrators.potentials import Potential
from kstep_integrators.scheme import Scheme
from kstep_integrators.state import PhaseState
from kstep_integrators.thermostats import Langevin, Thermostat, make_thermostat

__all__ = ["Method", "make_method", "make_rng"]


@dataclass(frozen=True)
class Method:
    """How a run moves, whatever it moves.

    Attributes
    ----------
    k : int
        Base steps per stride.
    jump : Jump
    corrector : Corrector
    thermostat : Thermostat
    control : Control
    metropolis : Metropolis or None
    """

    k: int
    jump: Jump
    corrector: Corrector
    thermostat: Thermostat
    control: Control
    metropolis: Metropolis | None

    def bind(self, state: PhaseState, physics: Physics) -> Scheme:
        """The scheme of a step of these atoms; refuses what the jump does not cover."""
        return Scheme(
            jump=self.jump.bind(state),
            corrector=self.corrector,
            thermostat=self.thermostat,
            physics=physics,
            timestep=self.jump.timestep,
            control=self.control,
            metropolis=self.metropolis,
        )


def make_method(
    model: Jump | Potential | str | Path,
    k: int,
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
    rule: Metropolis | None = None
    if metropolize:
        if temperature_K is None or not isinstance(bath, Langevin):
            raise ValueError(
                f"metropolize=True with temperature_K={temperature_K}, friction={friction}: a "
                "Metropolis test needs both, or momenta are never refreshed; pass "
                "friction=numpy.inf to draw them anew at every jump"
            )
        if on_error != "fallback" or energy_tolerance or force_tolerance:
            raise ValueError(
                f"metropolize=True with on_error={on_error!r}, energy_tolerance="
                f"{energy_tolerance}, force_tolerance={force_tolerance}: under a Metropolis "
                "test the physical energy alone decides, or the ensemble is not exact; leave "
                "these out, and watch dynamics.stats"
            )
        rule = Metropolis(temperature_K, extra_chances)
    return Method(
        k=_check_count(k),
        jump=jump,
        corrector=make_corrector(corrector or jump.correctors[0], jump.correctors),
        thermostat=bath,
        control=Control(
            on_error, energy_tolerance, force_tolerance, Guard() if guard is None else guard
        ),
        metropolis=rule,
    )


def _check_count(k: object) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k is {k!r}, expected an integer >= 1: base steps per jump")
    return int(k)


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
