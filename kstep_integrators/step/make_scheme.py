"""The scheme of a step from the options of a run and its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kstep_integrators import units
from kstep_integrators.correctors import make_corrector
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.potentials.base import Potential
from kstep_integrators.step.guard import Control
from kstep_integrators.step.metropolis import make_metropolis
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.scheme import Scheme, shortest_part

__all__ = ["LONGEST_IMPULSE", "changed_scheme", "make_scheme"]

LONGEST_IMPULSE = 4.0 * units.FS
"""Longest stride at which the default corrector is that of impulses, ASE time units."""
VERIFY_INTERVAL = 100
"""Strides between two checks of estimated energies, if nothing else is said: 1 % of the cost."""


def make_scheme(
    model: Jump | Potential | str | Path | None,
    options: RunOptions,
    longest_impulse: float = LONGEST_IMPULSE,
) -> Scheme:
    """The parts of a step that the options of a run ask for.

    Parameters
    ----------
    model : str, Path, Potential or Jump
        As for :class:`~kstep_integrators.KStepDynamics`.
    options : RunOptions
    longest_impulse : float
        Stride beyond which the default corrector averages positions, ASE time units; infinite where
        it may not.

    Raises
    ------
    ValueError, TypeError
        If the model cannot be had, or its jump cannot do what the options ask for; each message
        says what was given and what to do.
    """
    jump = make_jump(model, options.timestep, options.device)
    bath, control = options.thermostat_of(), options.control_of()
    if options.metropolize and not jump.reversible:
        raise ValueError(
            "metropolize=True with a jump that is neither time-reversible nor volume-preserving "
            f"({jump.describe()}): accepting it by the change of energy would not give the "
            "canonical ensemble; use a potential, or leave metropolize out"
        )
    check_k(options.first_k, jump, options.on_error)
    _check_tolerances(control, jump)
    corrector = make_corrector(
        options.corrector or _default_corrector(jump, options, longest_impulse), jump.correctors
    )
    if options.metropolize and corrector.averages:
        raise ValueError(
            f"metropolize=True with the corrector {corrector.name!r}, which has the physics "
            "computed at averaged positions: the test needs its energy at the landing too, a "
            "second evaluation, for which corrector='none' makes another stride; use 'none' or "
            "'impulse', or leave metropolize out"
        )
    barostat = options.barostat_of()
    if barostat is not None and corrector.averages:
        raise ValueError(
            f"pressure={options.pressure} with the corrector {corrector.name!r}, which has the "
            "physics computed at averaged positions: a move of the volume is tested by its energy "
            "at those of the run; use 'impulse' or 'none', or leave pressure out"
        )
    if options.verify_interval and not corrector.averages:
        raise ValueError(
            f"verify_interval={options.verify_interval} with the corrector {corrector.name!r}, "
            "which has the physics computed where it is wanted: there are no estimates to verify; "
            "leave it out, or set it to None, or use corrector='mollified'"
        )
    interval = VERIFY_INTERVAL if options.verify_interval is None else options.verify_interval
    metropolis = None
    if options.metropolize:
        metropolis, *_ = (
            make_metropolis(options.extra_chances, one, control) for one in options.thermostats()
        )
    return Scheme(
        jump=jump,
        corrector=corrector,
        thermostat=bath,
        control=control,
        metropolis=metropolis,
        shortest_k=shortest_part(options.first_k, jump.allowed_k),
        verify_interval=interval if corrector.averages else 0,
        barostat=barostat,
    )


def _default_corrector(jump: Jump, options: RunOptions, longest_impulse: float) -> str:
    """The corrector that measures best at a stride: impulses resonate beyond a few fs."""
    stride = options.first_k * jump.timestep
    tested = options.metropolize or options.pressure is not None
    averages = not tested and "mollified" in jump.correctors
    if averages and stride > longest_impulse * (1.0 + 1e-9):
        return "mollified"
    return jump.correctors[0]


def changed_scheme(
    scheme: Scheme,
    options: RunOptions,
    changes: Mapping[str, Any],
    longest_impulse: float = LONGEST_IMPULSE,
) -> tuple[RunOptions, Scheme]:
    """The options and the scheme of a run whose user has changed some options.

    Parameters
    ----------
    scheme : Scheme
        As it is.
    options : RunOptions
        That it was made from.
    changes : mapping
        Options by name, ``device`` excepted.
    longest_impulse : float
        As for :func:`make_scheme`.

    Raises
    ------
    ValueError, TypeError
        As :func:`make_scheme` and :class:`~kstep_integrators.step.options.RunOptions`.
    """
    new = dataclasses.replace(options, **changes)
    jump: Jump | Potential = scheme.jump
    there = dataclasses.replace(new, device="auto")
    if "timestep" not in changes:
        there = dataclasses.replace(there, timestep=None)
    elif isinstance(jump, FlowJump):  # which takes any base step
        jump = jump.potential
    made = make_scheme(jump, there, longest_impulse)
    return new, dataclasses.replace(made, label_forces=scheme.label_forces)


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


def check_k(k: int, jump: Jump, on_error: str) -> None:
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
    if jump.allowed_k is None:
        return
    if k not in jump.allowed_k:
        raise ValueError(
            f"k={k}, but this jump can make strides of {list(jump.allowed_k)} base steps of "
            f"{jump.timestep / units.FS:g} fs and no others: choose one of these"
        )
    if on_error == "shrink" and shortest_part(k, jump.allowed_k) == k:
        raise ValueError(
            f"on_error='shrink' with k={k}: a stride is halved, but this jump can make strides of "
            f"{list(jump.allowed_k)} base steps only; use on_error='fallback', or a k whose half "
            "is among them"
        )
