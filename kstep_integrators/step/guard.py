"""Limits and tolerances of a jump, and the ways to deal with one that is beyond them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import real_number
from kstep_integrators.fields import derived
from kstep_integrators.state import Evaluation, PhaseState, Reasons, kinetic_energy

__all__ = ["ON_ERROR", "Control", "DynamicsFailed", "Guard", "check_finite"]

ON_ERROR = ("fallback", "shrink", "warn", "stop")
"""Ways to deal with a jump that is beyond the tolerances."""

_INSTANT = 1e-12
"""ASE time; what a jump takes at least where speeds are worked out."""

CALM_STEPS = 8
"""Steps without any trouble after which a halved stride is doubled again."""


class DynamicsFailed(RuntimeError):
    """A jump does not stand, and nothing could be put in its place.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators import CalculatorPotential, DynamicsFailed, run_ensemble
    >>> from kstep_integrators.testing import BrokenCalculator, MorseNetwork
    >>> atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    >>> spring = MorseNetwork(atoms.positions)
    >>> def broken(atoms):
    ...     return BrokenCalculator(spring, broken=[1])
    >>> try:
    ...     _ = run_ensemble([atoms], CalculatorPotential(spring), broken, steps=1)
    ... except DynamicsFailed as error:
    ...     print("stopped:", error)
    stopped: ...call 1 was told to fail...
    """


def _first(batch: Tensor, values: Tensor, bad: Tensor) -> dict[int, float]:
    """The largest value in each molecule that has a bad one; values (N,), bad (N,) bool."""
    if not bool(bad.any()):  # the one transfer from the device, if nothing is wrong
        return {}
    largest: dict[int, float] = {}
    for molecule, value in zip(batch[bad].tolist(), values[bad].tolist(), strict=True):
        largest[molecule] = max(value, largest.get(molecule, 0.0))
    return largest


@dataclass(frozen=True)
class Guard:
    """Limits beyond which a jump is absurd, far outside anything that thermal motion does.

    Attributes
    ----------
    max_speed : float
        Mean speed of an atom over the stride, angstrom / ASE time. The default, 1 angstrom/fs, is
        twenty times the thermal speed of hydrogen at 1000 K.
    max_energy_change : float
        Change of the total physical energy over one jump, eV, or a tenth of it per atom for
        molecules of more than ten atoms.

    Raises
    ------
    TypeError, ValueError
        If one is no positive number; ``math.inf`` is no limit.

    Examples
    --------
    >>> from kstep_integrators import Guard, units
    >>> guard = Guard(max_speed=0.5 / units.FS)  # KStepDynamics(..., guard=guard)
    >>> guard.max_energy_change  # eV
    1.0
    """

    max_speed: float = 1.0 / units.FS
    max_energy_change: float = 1.0

    def __post_init__(self) -> None:
        for name, meaning in (
            ("max_speed", "angstrom / ASE time"),
            ("max_energy_change", "eV"),
        ):
            value = getattr(self, name)
            if not real_number(name, value, meaning) > 0.0:  # infinity is no limit
                raise ValueError(f"{name} is {value!r}, expected a positive number of {meaning}")

    def check_jump(self, before: PhaseState, after: PhaseState) -> Reasons:
        """Molecules whose landing is absurd; asked before the physics is evaluated there."""
        length = torch.linalg.vector_norm
        elapsed = after.time - before.time
        # Asked at every jump: one transfer from the device says that no component is near the
        # limit, and no atom is faster than twice its fastest component.
        largest = (
            length(after.positions - before.positions, ord=math.inf),
            length(after.momenta / after.masses, ord=math.inf),
        )
        farthest, fastest, *times = torch.cat((torch.stack(largest), elapsed)).tolist()
        limit = 0.5 * self.max_speed
        if fastest <= limit and farthest <= limit * max(min(times), _INSTANT):
            return {}
        moved = length(after.positions - before.positions, dim=1)
        speed = torch.maximum(
            moved / torch.clamp(elapsed, min=_INSTANT)[after.batch],
            length(after.momenta / after.masses, dim=1),
        ).nan_to_num(nan=math.inf)
        limit = self.max_speed * units.FS
        return {
            molecule: f"an atom moved at {worst * units.FS:.3g} A/fs (limit {limit:.3g} A/fs)"
            for molecule, worst in _first(after.batch, speed, speed > self.max_speed).items()
        }

    def energy_limit(self, atoms: Tensor) -> Tensor:
        """Largest change of the total energy over one jump, eV, for numbers of atoms (B,)."""
        return self.max_energy_change * torch.clamp(atoms / 10.0, min=1.0)

    def _limit(self, state: PhaseState) -> tuple[Tensor, list[float]]:
        """The limit of each molecule, (B,) eV, and the same as a list."""
        limit = self.energy_limit(torch.bincount(state.batch))
        return limit, limit.tolist()

    def check_energy(
        self, before: PhaseState, start: Evaluation, after: PhaseState, end: Evaluation
    ) -> Reasons:
        """Molecules whose energy at the landing makes the jump absurd."""
        parts = (end.energy, kinetic_energy(after), start.energy, kinetic_energy(before))
        limits: list[float]
        limit, limits = derived(after, ("limit", self.max_energy_change), self._limit, lasting=True)
        # Asked at every jump: one transfer from the device, and numbers cost less than tensors.
        changes = zip(*torch.stack(parts).tolist(), limits, strict=True)
        if all(abs(v + t - v0 - t0) <= most for v, t, v0, t0, most in changes):
            return {}
        change = parts[0] + parts[1] - parts[2] - parts[3]
        change = change.nan_to_num(nan=math.inf)
        absurd = change.abs() > limit
        return {
            molecule: f"the total energy changed by {float(change[molecule]):.3g} eV in one jump "
            f"(limit {float(limit[molecule]):.3g} eV)"
            if math.isfinite(change[molecule])
            else "the total energy after the jump is not finite"
            for molecule in torch.nonzero(absurd).flatten().tolist()
        }


def check_finite(landed: PhaseState) -> Reasons:
    """Molecules whose landing is not finite: all that is asked where no guard is."""
    finite = (landed.positions + landed.momenta).isfinite().all(1)
    if bool(finite.all()):
        return {}
    broken = landed.batch[~finite].unique().tolist()
    return dict.fromkeys(broken, "the jump ended where positions or momenta are not finite")


@dataclass(frozen=True)
class Control:
    """Tolerances of a run, and what is done about jumps beyond them.

    Attributes
    ----------
    on_error : str
        ``"fallback"``: the jump is undone and its stride made with velocity Verlet on the physics.
        ``"shrink"``: it is undone and its stride made in two jumps, or four, ...; so are the
        strides that follow, until it has been calm for some steps. ``"warn"``: it stands, and is
        reported. ``"stop"``: it is undone, and the run stops.
        What the guard finds absurd, or has no energy, never stands: ``"warn"`` treats it as
        ``"fallback"`` does.
    energy_tolerance : float or None
        Error of the predicted change of the potential energy over one jump, eV; None: any.
    force_tolerance : float or None
        Residual F_physics - F_potential of the worst atom at the landing (its norm, as for fmax of
        ASE's optimizers), eV/angstrom; None: any.
    guard : Guard

    Raises
    ------
    ValueError
        If there is no such way to deal with errors, or a tolerance is not positive.
    """

    on_error: str = "fallback"
    energy_tolerance: float | None = None
    force_tolerance: float | None = None
    guard: Guard = Guard()

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise ValueError(f"unknown on_error {self.on_error!r}; choose one of {list(ON_ERROR)}")
        for name, unit in (("energy_tolerance", "eV"), ("force_tolerance", "eV/angstrom")):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, expected a number of {unit} above 0, or None")

    def check(self, batch: Tensor, energy_error: Tensor | None, residual: Tensor | None) -> Reasons:
        """Molecules of a landing that are beyond the tolerances; what is not a number is.

        Parameters
        ----------
        batch : (N,) int64
        energy_error : (B,) eV, or None
        residual : (N, 3) eV/angstrom, or None
            None if the jump has no potential, and then no tolerance applies.
        """
        beyond: Reasons = {}
        if self.force_tolerance is not None and residual is not None:
            sizes = residual.norm(dim=1)
            for molecule, worst in _first(batch, sizes, ~(sizes <= self.force_tolerance)).items():
                beyond[molecule] = (
                    f"the residual force on an atom is {worst:.3g} eV/A "
                    f"(force_tolerance {self.force_tolerance:.3g} eV/A)"
                )
        if self.energy_tolerance is not None and energy_error is not None:
            errors = energy_error.abs()
            for molecule in torch.nonzero(~(errors <= self.energy_tolerance)).flatten().tolist():
                beyond[molecule] = (
                    f"the predicted change of energy is off by {float(errors[molecule]):.3g} eV "
                    f"(energy_tolerance {self.energy_tolerance:.3g} eV)"
                )
        return beyond
