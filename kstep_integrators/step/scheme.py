"""The parts that a step is composed of, and the same for one set of atoms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from kstep_integrators.correctors import Corrector
from kstep_integrators.jumps.base import BoundJump, Jump
from kstep_integrators.physics.protocol import Physics
from kstep_integrators.state import PhaseState
from kstep_integrators.step.barostat import Barostat
from kstep_integrators.step.guard import Control
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.thermostats import Thermostat

__all__ = ["BoundScheme", "Scheme", "shortest_part"]


class _Decided:
    """The rule for what of the physics a scheme asks."""

    corrector: Corrector
    metropolis: Metropolis | None
    label_forces: bool

    @property
    def needs_forces(self) -> bool:
        """True if an energy is too little; without a test the residual is watched."""
        return self.corrector.needs_forces or self.metropolis is None or self.label_forces


@dataclass(frozen=True)
class Scheme(_Decided):
    """The parts that a step is composed of, whatever it moves.

    Attributes
    ----------
    jump : Jump
        J.
    corrector : Corrector
        C.
    thermostat : Thermostat
        O.
    control : Control
        Not asked under a Metropolis test, which alone decides there.
    metropolis : Metropolis or None
        { }.
    shortest_k : int
        Base steps of the shortest jump that a stride may be divided into.
    label_forces : bool
        Whether forces are wanted as labels, where an energy would do for the step.
    verify_interval : int
        Strides between two evaluations at positions where the physics is estimated; 0 for none.
    barostat : Barostat or None
        Moves of the volume between strides; None for a cell that stays.
    """

    jump: Jump
    corrector: Corrector
    thermostat: Thermostat
    control: Control = field(default_factory=Control)
    metropolis: Metropolis | None = None
    shortest_k: int = 1
    label_forces: bool = False
    verify_interval: int = 0
    barostat: Barostat | None = None

    def check(self, state: PhaseState) -> None:
        """Refuse atoms that the parts of a step cannot act on.

        Raises
        ------
        ValueError
            The message says which part, why, and what to do.
        """
        self.check_constraints(0 if state.bonds is None else len(state.bonds))
        self.jump.bind(state)
        self.thermostat.check(state)
        if self.barostat is not None:
            self.barostat.check(state)

    def check_constraints(self, count: int, otherwise: str = "remove FixBondLengths") -> None:
        """Refuse bonds of fixed length beside parts that were not validated with them.

        Parameters
        ----------
        count : int
            Of the bonds.
        otherwise : str
            What the user of a host may do instead.

        Raises
        ------
        ValueError
            For the correctors ``"filtered"`` and ``"mollified"``, and for a Metropolis test.
        """
        if not count:
            return
        if self.corrector.averages:
            raise ValueError(
                f"the corrector {self.corrector.name!r} with {count} bonds of fixed length: the "
                "derivative of its averaged positions is that of free atoms, and its kicks would "
                f"not be those of an energy; use 'impulse' or 'none', or {otherwise}"
            )
        if self.corrector.name == "filtered":
            raise ValueError(
                f"the corrector 'filtered' with {count} bonds of fixed length: its modes are those "
                "of free atoms, and it has not been validated with constraints; use 'impulse' or "
                f"'none', or {otherwise}"
            )
        if self.metropolis is not None:
            raise ValueError(
                f"metropolize=True with {count} bonds of fixed length: that the test is exact with "
                f"constraints has not been validated; leave metropolize out, or {otherwise}"
            )

    def bind(self, state: PhaseState, physics: Physics) -> BoundScheme:
        """The scheme of a step of these atoms; refuses what the jump does not cover."""
        self.check_constraints(0 if state.bonds is None else len(state.bonds))
        return BoundScheme(
            jump=self.jump.bind(state),
            corrector=self.corrector,
            thermostat=self.thermostat,
            physics=physics,
            timestep=self.jump.timestep,
            control=self.control,
            metropolis=self.metropolis,
            shortest_k=self.shortest_k,
            label_forces=self.label_forces,
            verify_interval=self.verify_interval,
            barostat=self.barostat,
            unbound=self.jump,
        )


@dataclass(frozen=True)
class BoundScheme(_Decided):
    """The parts of a step for one set of atoms.

    Attributes
    ----------
    jump : BoundJump
    corrector : Corrector
    thermostat : Thermostat
    physics : Physics
    timestep : float
        Base step, ASE time units.
    control, metropolis, shortest_k, label_forces, verify_interval, barostat
        As in :class:`Scheme`.
    unbound : Jump or None
        That of any atoms, for :meth:`at`.
    """

    jump: BoundJump
    corrector: Corrector
    thermostat: Thermostat
    physics: Physics
    timestep: float
    control: Control = field(default_factory=Control)
    metropolis: Metropolis | None = None
    shortest_k: int = 1
    label_forces: bool = False
    verify_interval: int = 0
    barostat: Barostat | None = None
    unbound: Jump | None = None

    def at(self, state: PhaseState) -> BoundScheme:
        """The scheme of the same atoms in another cell; the physics looks at that of the state."""
        if self.unbound is None:
            raise ValueError("this scheme was bound by hand, without the jump of any atoms")
        return replace(self, jump=self.unbound.bind(state))


def shortest_part(k: int, allowed: tuple[int, ...] | None) -> int:
    """Halve k as often as a jump can follow: to 1, or to the last half that it can make.

    Parameters
    ----------
    k : int
        Base steps.
    allowed : tuple of int or None
        Base steps that the jump can make; None for any.
    """
    if allowed is None:
        return 1
    while k % 2 == 0 and k // 2 in allowed:
        k //= 2
    return k
