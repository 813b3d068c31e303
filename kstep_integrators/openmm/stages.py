"""What the jump's force is asked in each stage of a step, and how it answers.

A ``PythonForce`` is given positions and parameters of the Context, and gives back one energy and
one vector for each particle. Everything else that a jump needs goes through this door in stages:
the integrator sets the parameter ``kstep_stage``, writes what it has to say into the positions,
and reads "force" and "energy" of the jump's group. Between steps the stage is idle.
"""

from __future__ import annotations

from typing import Final

from kstep_integrators.correctors import CORRECTORS, Corrector

__all__ = [
    "ABSURD",
    "BONDS",
    "BOX",
    "CHANGED",
    "CORRECTION",
    "CORRECTOR",
    "CORRECTORS_BY_CODE",
    "CORRECTOR_CODES",
    "DEFAULTS",
    "FAILED",
    "FINE",
    "FLOW",
    "FORCES",
    "GUARDED",
    "IDLE",
    "POSITIONS",
    "REPORT",
    "STAGE",
    "STEPS",
    "STOPPED",
    "STRIDE",
    "UNDONE",
    "VELOCITIES",
]

IDLE: Final = 0
"""Zero energy and force, at once: what reporters, minimizers and ``getState`` see."""

POSITIONS: Final = 1
"""Takes the positions (nm). Energy: seconds spent in jumps since it was last asked."""

FLOW: Final = 2
"""Takes velocities (nm/ps) and makes the jump. Force: change of positions. Energy: a verdict."""

VELOCITIES: Final = 3
"""Force: change of velocities. Energy: predicted change of the potential energy, kJ/mol."""

CORRECTION: Final = 4
"""Takes physical forces (kJ/mol/nm) at the positions last taken or landed at. Force: that of the
corrector, as far as constraints let it act. Energy: sum of squares of the residual,
(eV/angstrom)^2, or a verdict below zero."""

FAILED: Final = 5
"""Takes notice that neither jump nor physics could advance the system."""

ABSURD: Final = 6
"""Takes notice that the energy makes a jump absurd, for the log."""

FORCES: Final = 8
"""Takes physical forces (kJ/mol/nm) at the positions last taken, for a jump that looks at them."""

BOX: Final = 9
"""Force: the periodic box (nm), six numbers on the first two particles."""

REPORT: Final = 7
"""Raises what went wrong, once. The Context is in order by then; elsewhere nothing is raised."""

BONDS: Final = 10
"""Takes the positions where a step has ended. Energy: 1 if a bond has broken or formed since it
began, 0 if none has, or :data:`STOPPED`."""

CHANGED: Final = -1
"""The jump stands, as far as :data:`BONDS` is not asked: a bond is another at the landing."""

FINE: Final = 0
"""The jump stands."""

UNDONE: Final = 1
"""It does not, and physics steps may stand in its place."""

STOPPED: Final = 2
"""Nothing can: the step is undone and :data:`REPORT` raises."""

STAGE: Final = "kstep_stage"
STEPS: Final = "kstep_k"
STRIDE: Final = "kstep_stride"
CORRECTOR: Final = "kstep_corrector"
GUARDED: Final = "kstep_guarded"

CORRECTOR_CODES: Final = {name: float(code) for code, name in enumerate(sorted(CORRECTORS))}
"""Corrector by name as the number that the parameter :data:`CORRECTOR` takes."""

CORRECTORS_BY_CODE: Final[dict[float, Corrector]] = {
    code: CORRECTORS[name]() for name, code in CORRECTOR_CODES.items()
}
"""The correctors by that number."""

DEFAULTS: Final[dict[str, float]] = {
    STAGE: float(IDLE),
    STEPS: 1.0,
    STRIDE: 0.0,
    CORRECTOR: 0.0,
    GUARDED: 1.0,
}
"""Parameters of the Context that belong to the jump. The integrator writes them at each step."""
