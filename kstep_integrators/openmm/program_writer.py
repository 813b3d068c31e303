"""Programs of OpenMM's CustomIntegrator: written under names of their own, and printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import openmm

from kstep_integrators.openmm.stages import Stage

__all__ = ["PREFIX", "ProgramWriter", "printed_program"]

PREFIX: Final = "kstep_"
"""Of all variables of the program, and of the parameters of the jump's force, so that they never
clash with parameters that other forces define ("k", "lambda")."""

_NAME = re.compile(r"[A-Za-z_]\w*")

_ANSWER = re.compile(r"(f|energy)(\d+)")


class ProgramWriter:
    """Adds computations to an integrator; its own variables are written without their prefix.

    Parameters
    ----------
    integrator : openmm.CustomIntegrator
    group : int
        Force group of the jump: ``answer`` is its force, ``verdict`` its energy.
    parameters : dict of str to float
        Those of the jump's force.

    Examples
    --------
    >>> import openmm
    >>> integrator = openmm.CustomIntegrator(0.001)
    >>> write = ProgramWriter(integrator, 31, {"kstep_stage": 0.0})
    >>> write.numbers(count=0)
    >>> with write.loop("count < 3"):
    ...     write.each("v", "v + dt/3*f/m")
    ...     write.set("count", "count + 1")
    >>> integrator.getComputationStep(2)[1:]
    ['kstep_count', 'kstep_count + 1']
    """

    def __init__(
        self, integrator: openmm.CustomIntegrator, group: int, parameters: dict[str, float]
    ) -> None:
        self.integrator = integrator
        self._names = {name.removeprefix(PREFIX): name for name in parameters}
        self._names |= {"answer": f"f{group}", "verdict": f"energy{group}"}

    def numbers(self, **values: float) -> None:
        """Declare global variables with their values at the start."""
        for name, value in values.items():
            self._names[name] = PREFIX + name
            self.integrator.addGlobalVariable(self._names[name], float(value))

    def vectors(self, *names: str) -> None:
        """Declare variables that each degree of freedom has."""
        for name in names:
            self._names[name] = PREFIX + name
            self.integrator.addPerDofVariable(self._names[name], 0.0)

    def set(self, name: str, expression: str) -> None:
        """Compute a number."""
        self.integrator.addComputeGlobal(self._full(name), self._full(expression))

    def each(self, name: str, expression: str) -> None:
        """Compute a vector, or x or v, component by component."""
        self.integrator.addComputePerDof(self._full(name), self._full(expression))

    def total(self, name: str, expression: str) -> None:
        """Compute a number as the sum over all degrees of freedom."""
        self.integrator.addComputeSum(self._full(name), self._full(expression))

    def ask(
        self, stage: Stage, vector: str = "dx", number: str = "ignored", provided: str = ""
    ) -> None:
        """Ask the jump's force in one stage: its force becomes a vector, its energy a number.

        ``provided`` is 1, or 0 where the force is to rest and all answers are zero: unlike a block
        it makes no new path through the program.
        """
        self.set("stage", f"{stage.value}*{provided}" if provided else f"{stage.value}")
        self.each(vector, "answer")
        self.set(number, "verdict")

    def idle(self) -> None:
        """Let the jump's force rest."""
        self.set("stage", f"{Stage.IDLE.value}")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Do what is added inside if the condition holds. NaN makes every one false.

        Before its first step OpenMM looks at every path through two steps of a program: each block
        that stands by itself may double their number in both, and one inside another adds to it.
        What needs neither forces nor energies is better computed both ways, with
        ``select(condition, one, other)`` for what may be NaN.
        """
        self.integrator.beginIfBlock(self._full(condition))
        yield
        self.integrator.endBlock()

    @contextmanager
    def loop(self, condition: str) -> Iterator[None]:
        """Do what is added inside again while the condition holds."""
        self.integrator.beginWhileBlock(self._full(condition))
        yield
        self.integrator.endBlock()

    def _full(self, expression: str) -> str:
        return _NAME.sub(lambda match: self._names.get(match[0], match[0]), expression)


def printed_program(integrator: openmm.CustomIntegrator) -> str:
    """The program of an integrator, one computation in a line, as OpenMM executes it.

    The prefix of the variables is left out, and what the jump answers is called so. The stages in
    which it is asked are explained below.

    Parameters
    ----------
    integrator : openmm.CustomIntegrator
        Written by :class:`ProgramWriter`, also one that came out of XML.
    """
    lines, depth, stages = list[str](), 0, set[Stage]()
    for index in range(integrator.getNumComputations()):
        kind, variable, expression = integrator.getComputationStep(index)
        if kind == openmm.CustomIntegrator.BlockEnd:
            depth -= 1
            continue
        if variable == f"{PREFIX}stage":
            number, times, condition = expression.partition("*")
            stages.add(Stage(int(number)))
            expression = f"{Stage(int(number)).name}{times}{condition}"
        lines.append(f"{index:4d}  {'    ' * depth}{_line(kind, _short(variable), expression)}")
        depth += kind in _BLOCKS
    explained = [f"{stage.name}: {stage.meaning}" for stage in sorted(stages)]
    return "\n".join([*lines, "", "Stages, and force and energy of the jump in each:", *explained])


_BLOCKS: Final = {
    openmm.CustomIntegrator.IfBlockStart: "if",
    openmm.CustomIntegrator.WhileBlockStart: "while",
}

_WITHOUT_EXPRESSION: Final = {
    openmm.CustomIntegrator.ConstrainPositions: "constrain positions",
    openmm.CustomIntegrator.ConstrainVelocities: "constrain velocities",
    openmm.CustomIntegrator.UpdateContextState: "update the state of the Context",
}


def _line(kind: int, variable: str, expression: str) -> str:
    """One computation, without prefixes."""
    if kind in _WITHOUT_EXPRESSION:
        return _WITHOUT_EXPRESSION[kind]
    expression = _short(expression)
    if kind in _BLOCKS:
        return f"{_BLOCKS[kind]} {expression}:"
    if kind == openmm.CustomIntegrator.ComputeSum:
        return f"{variable} <- sum of {expression}"
    return f"{variable} <- {expression}"


def _short(expression: str) -> str:
    answer = _ANSWER.fullmatch(expression)
    if answer is not None:
        return {"f": "force of the jump", "energy": "energy of the jump"}[answer[1]]
    return _NAME.sub(lambda match: match[0].removeprefix(PREFIX), expression)
