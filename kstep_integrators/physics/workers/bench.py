"""Calculators of one process, one for each replica, asked for energy and forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.physics.calculation import Answer, ask, check_is_calculator

__all__ = ["Bench", "CalculatorFactory", "Request", "Workers"]

CalculatorFactory = Callable[[Atoms], BaseCalculator]
"""Makes the calculator of one molecule, in the process where it will work."""


@dataclass(frozen=True)
class Request:
    """One geometry to be evaluated.

    Attributes
    ----------
    replica : int
        Number of the calculator it is for. The same replica is always the same molecule.
    atoms : ase.Atoms
        Without calculator and constraints.
    forces : bool
        Whether they are wanted, beside the energy.
    """

    replica: int
    atoms: Atoms
    forces: bool = True


class Workers(Protocol):
    """Evaluation of many geometries."""

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests; a failure is an answer and not an exception.

        No two of the requests may be for one replica.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections; they cannot be used any more."""
        ...


class Bench:
    """Calculators of one process, made when they are first needed.

    A replica keeps its calculator, so that an SCF starts from the density of the step before.

    Parameters
    ----------
    factory : CalculatorFactory
    """

    def __init__(self, factory: CalculatorFactory) -> None:
        self._factory = factory
        self._known: dict[int, Atoms] = {}
        self._stood: dict[int, Atoms | None] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers, computed one after another."""
        return [self(request) for request in requests]

    def close(self) -> None:
        """Drop the calculators."""
        self._known.clear()
        self._stood.clear()

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        try:
            atoms = self._place(request)
        except Exception as error:  # noqa: BLE001  (the user's function raises what it likes)
            return Answer(failure=f"{type(error).__name__}: {error}")
        answer = ask(atoms, request.forces, self._stood.get(request.replica))
        self._stood[request.replica] = getattr(atoms.calc, "atoms", None)
        return answer

    def _place(self, request: Request) -> Atoms:
        """The replica's own atoms, with its calculator, at the requested geometry."""
        atoms = self._known.get(request.replica)
        if atoms is None:
            atoms = request.atoms.copy()
            made = self._factory(request.atoms.copy())
            check_is_calculator("what the function of the calculators returned", made)
            atoms.calc = made
            self._known[request.replica] = atoms
        atoms.positions[:] = request.atoms.positions
        if not np.array_equal(atoms.cell.array, request.atoms.cell.array):
            atoms.cell[:] = request.atoms.cell
            self._stood.pop(request.replica, None)  # more than positions has changed
        return atoms
