"""A CustomIntegrator's program, written down word by word under names of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import openmm

__all__ = ["Words"]

_NAME = re.compile(r"[A-Za-z_]\w*")


class Words:
    """Adds computations to an integrator.

    Variables of the program get a prefix, so that they never clash with parameters that forces
    define ("k", "lambda").

    Parameters
    ----------
    integrator : openmm.CustomIntegrator
    aliases : dict of str to str
        Names in the program of what OpenMM knows by another.
    """

    prefix = "kstep_"

    def __init__(self, integrator: openmm.CustomIntegrator, aliases: dict[str, str]) -> None:
        self.integrator = integrator
        self._names = dict(aliases)

    def numbers(self, **values: float) -> None:
        """Declare global variables with their values at the start."""
        for name, value in values.items():
            self._names[name] = self.prefix + name
            self.integrator.addGlobalVariable(self._names[name], float(value))

    def vectors(self, *names: str) -> None:
        """Declare variables that each degree of freedom has."""
        for name in names:
            self._names[name] = self.prefix + name
            self.integrator.addPerDofVariable(self._names[name], 0.0)

    def set(self, name: str, expression: str) -> None:
        """Compute a number."""
        self.integrator.addComputeGlobal(self._own(name), self._own(expression))

    def each(self, name: str, expression: str) -> None:
        """Compute a vector, or x or v, component by component."""
        self.integrator.addComputePerDof(self._own(name), self._own(expression))

    def total(self, name: str, expression: str) -> None:
        """Compute a number as the sum over all degrees of freedom."""
        self.integrator.addComputeSum(self._own(name), self._own(expression))

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """What is added inside is done if the condition holds. NaN makes every one false.

        Before its first step OpenMM looks at every path through two steps of a program: each block
        that stands by itself may double their number in both, and one inside another adds to it.
        What needs neither forces nor energies is better computed both ways, with
        ``select(condition, one, other)`` for what may be NaN.
        """
        self.integrator.beginIfBlock(self._own(condition))
        yield
        self.integrator.endBlock()

    @contextmanager
    def loop(self, condition: str) -> Iterator[None]:
        """What is added inside is done again while the condition holds."""
        self.integrator.beginWhileBlock(self._own(condition))
        yield
        self.integrator.endBlock()

    def _own(self, expression: str) -> str:
        return _NAME.sub(lambda match: self._names.get(match[0], match[0]), expression)
