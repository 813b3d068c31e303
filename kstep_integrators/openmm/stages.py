"""The questions that a step asks the jump's force, one after the other, and their answers.

A ``PythonForce`` is given positions and parameters of the Context, and gives back one energy and
one vector for each particle. All that a jump needs passes through it in stages: the program sets
the parameter ``kstep_stage``, writes what it has to hand over into the positions, and reads force
and energy of the jump's group. Between steps the stage is idle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
import torch
from torch import Tensor

from kstep_integrators.correctors import CORRECTORS, Corrector
from kstep_integrators.mechanics.bond_watch import Topology, find_bonds
from kstep_integrators.openmm.solute import Array
from kstep_integrators.physics.store import EvaluationStore
from kstep_integrators.state import Evaluation, PhaseState

__all__ = [
    "CORRECTORS_BY_CODE",
    "CORRECTOR_CODES",
    "NOISE",
    "PARAMETERS",
    "BondMemory",
    "Exchange",
    "Stage",
    "Verdict",
]


class Stage(IntEnum):
    """The stages, by the number that the parameter ``kstep_stage`` takes.

    Examples
    --------
    >>> Stage.JUMP.meaning
    'takes v, nm/ps, and jumps; force: change of positions; energy: a verdict'
    """

    IDLE = 0
    POSITIONS = 1
    JUMP = 2
    VELOCITIES = 3
    CORRECTION = 4
    FAILED = 5
    ABSURD = 6
    REPORT = 7
    FORCES = 8
    BOX = 9
    BONDS = 10
    RATTLE = 11
    NOISE = 12

    @property
    def meaning(self) -> str:
        """The values handed over, and the answers in force and energy."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Stage.IDLE: "zero energy and force, as reporters, minimizers and getState see them",
    Stage.POSITIONS: "takes x, nm; energy: seconds spent in jumps since it was last asked",
    Stage.JUMP: "takes v, nm/ps, and jumps; force: change of positions; energy: a verdict",
    Stage.VELOCITIES: "force: change of velocities; energy: predicted change of energy, kJ/mol",
    Stage.CORRECTION: (
        "takes the physical forces, kJ/mol/nm; force: that of the corrector; energy: sum of "
        "squares of the residual, (eV/angstrom)^2, or minus a verdict"
    ),
    Stage.FAILED: "takes notice that neither jump nor physics could advance the system",
    Stage.ABSURD: "takes notice that the energy makes a jump absurd",
    Stage.REPORT: "raises what went wrong, once; nothing is raised in any other stage",
    Stage.FORCES: "takes the physical forces, kJ/mol/nm, for a jump that looks at them",
    Stage.BOX: "force: the periodic box, nm, as six numbers on the first two particles",
    Stage.BONDS: "takes x where the step ends; energy: 1 if a bond broke or formed in it",
    Stage.RATTLE: (
        "takes v, nm/ps; force: their change that keeps to the constraints where the jump has "
        "landed, or bonds were looked at since"
    ),
    Stage.NOISE: (
        "takes seed, start, kT and draw as guarded, stride, corrector and k; force: standard "
        "normal numbers; energy: a uniform one in [0, 1)"
    ),
}


class Verdict(IntEnum):
    """The outcome of a jump, as the energy of a stage says it."""

    BONDS_CHANGED = -1
    """The jump stands; a bond is another at its landing, as far as is known there."""
    STANDS = 0
    UNDONE = 1
    """Physics steps may stand in its place."""
    STOPPED = 2
    """Nothing can: the step is undone, and :attr:`Stage.REPORT` raises why."""


PARAMETERS: Final[dict[str, float]] = {
    "kstep_stage": float(Stage.IDLE),
    "kstep_k": 1.0,
    "kstep_stride": 0.0,
    "kstep_corrector": 0.0,
    "kstep_guarded": 1.0,
}
"""Parameters of the Context that belong to the jump, with their values before the first step:
stage, base steps, stride (ps), number of the corrector, whether absurd jumps are undone."""

NOISE: Final = {
    "seed": "kstep_guarded",
    "start": "kstep_stride",
    "kT": "kstep_corrector",
    "draw": "kstep_k",
}
"""Parameters that the stage NOISE reads: seed, where the trajectory began, kT of the bath, number
of the draw. They are those of other stages: each one more would cost every stage of every step."""

CORRECTOR_CODES: Final = {"delta": 0.0, "filtered": 1.0, "impulse": 2.0, "none": 3.0}
"""Corrector by name as the number that the parameter takes, in saved XML too: for ever."""

CORRECTORS_BY_CODE: Final[dict[float, Corrector]] = {
    code: CORRECTORS[name]() for name, code in CORRECTOR_CODES.items()
}
"""The correctors by that number."""

_LANDINGS = 8
"""Landings whose potential is remembered: those that a Metropolis test may come back to."""

_GEOMETRIES = 64
"""Geometries whose bonds are: the proposals of a test, and those of Contexts that take turns."""

_SAME = 1e-6
"""nm; platforms in single precision give positions back rounded."""


class BondMemory:
    """The bonds at the last geometries, found anew where a Context comes from elsewhere.

    A pair of atoms between bonded and not is what it was before, so that vibrations are no changes;
    nothing in a geometry tells what it was.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Array, Topology]] = []

    def at(self, positions: Array, state: PhaseState) -> Topology:
        """The bonds at positions (N, 3), nm, of the atoms of a state there."""
        for where, bonds in reversed(self._kept):
            if where.shape == positions.shape and np.abs(where - positions).max() < _SAME:
                return bonds
        bonds = find_bonds(state)
        self.put(positions, bonds)
        return bonds

    def put(self, positions: Array, bonds: Topology) -> None:
        """Keep the bonds at a landing."""
        self._kept.append((positions, bonds))
        del self._kept[:-_GEOMETRIES]


@dataclass(frozen=True)
class Exchange:
    """All that a Context has handed over, and not been given back yet, between two stages.

    Attributes
    ----------
    positions : (N, 3) float64, nm, or None
        Last taken, or landed at.
    state : PhaseState or None
        There; the solute in one piece, if there is a periodic box.
    forces : (N, 3) Tensor, eV/angstrom, or None
        The physics there, for a jump that looks at it.
    inner : Evaluation or None
        The potential there, if it is known.
    velocities : (N, 3) float64, nm/ps, or None
        Change of the velocities by the jump.
    predicted : float
        Change of the potential's energy over it, kJ/mol.
    box : (3, 3) float64, nm, or None
        Periodic box vectors as rows, if there is a box.
    problem : BaseException or None
        To be raised as soon as the Context is in order.
    seconds : float
        Spent in jumps and correctors since the program last asked.
    known : EvaluationStore
        The potential at the last landings.
    bonds : Topology or None
        Where the step began; None before it has.
    bonded : BondMemory
        The bonds at the last landings.
    """

    positions: Array | None = None
    state: PhaseState | None = None
    forces: Tensor | None = None
    inner: Evaluation | None = None
    velocities: Array | None = None
    predicted: float = 0.0
    box: Array | None = None
    problem: BaseException | None = None
    seconds: float = 0.0
    known: EvaluationStore[Evaluation] = field(default_factory=lambda: EvaluationStore(_LANDINGS))
    bonds: Topology | None = None
    bonded: BondMemory = field(default_factory=BondMemory)

    def here(self) -> tuple[Array, PhaseState]:
        """Positions and state.

        Raises
        ------
        RuntimeError
            If no positions were taken.
        """
        if self.positions is None or self.state is None:
            raise RuntimeError(
                "a stage of a jump came without the positions before it: the program of the "
                "integrator was changed, or another integrator sets kstep_stage"
            )
        return self.positions, self.state

    def physics(self) -> Evaluation:
        """The physical forces here, as far as they were handed over; the energy is not known."""
        _, state = self.here()
        return Evaluation(torch.full_like(state.time, math.nan), self.forces)
