"""What a worker does: it keeps a calculator for each replica and asks it for energy and forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

__all__ = ["Answer", "Bench", "CalculatorFactory", "Request", "Workers"]

CalculatorFactory = Callable[[Atoms], BaseCalculator]
"""Makes the calculator of one molecule, in the process where it will work."""


@dataclass(frozen=True)
class Request:
    """One geometry to be evaluated.

    Attributes
    ----------
    replica : int
        Which calculator it is for. The same replica is always the same molecule.
    atoms : ase.Atoms
        Without calculator and constraints.
    forces : bool
        Whether an energy is too little.
    """

    replica: int
    atoms: Atoms
    forces: bool = True


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes
    ----------
    energy : float, eV
        NaN if there is none.
    forces : (N, 3) float64, eV/angstrom, or None
        None if they failed, or were not asked for and not computed anyway.
    failure : str or None
        Why there is no energy.
    """

    energy: float = float("nan")
    forces: npt.NDArray[np.float64] | None = None
    failure: str | None = None


class Workers(Protocol):
    """Evaluates many geometries."""

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests; a failure is an answer and not an exception.

        No two of the requests may be for one replica.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections; they cannot be used any more."""
        ...


class Bench:
    """The calculators of one process, made when they are first needed.

    A replica keeps its calculator, so that an SCF starts from the density of the step before.

    Parameters
    ----------
    factory : CalculatorFactory
    """

    def __init__(self, factory: CalculatorFactory) -> None:
        self._factory = factory
        self._known: dict[int, Atoms] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """One after another."""
        return [self(request) for request in requests]

    def close(self) -> None:
        """Drop the calculators."""
        self._known.clear()

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        try:
            atoms = self._place(request)
            forces = _forces(atoms, request.forces)
            energy = float(atoms.get_potential_energy())
        except Exception as error:  # noqa: BLE001  (calculators raise what they like)
            return Answer(failure=f"{type(error).__name__}: {error}")
        finite = np.ones(0, dtype=bool) if forces is None else np.isfinite(forces).all(axis=1)
        if not (np.isfinite(energy) and finite.all()):
            # Or the calculator would serve the same again from its own cache.
            atoms.calc.reset()
            return Answer(
                failure=f"the calculator returned the energy {energy} eV and no finite forces on "
                f"atoms {np.flatnonzero(~finite).tolist()}"
            )
        return Answer(energy, forces)

    def _place(self, request: Request) -> Atoms:
        """The replica's own atoms, with its calculator, at the requested geometry."""
        atoms = self._known.get(request.replica)
        if atoms is None:
            atoms = request.atoms.copy()
            atoms.calc = self._factory(request.atoms.copy())
            self._known[request.replica] = atoms
        atoms.positions[:] = request.atoms.positions
        atoms.cell[:] = request.atoms.cell
        return atoms


def _forces(atoms: Atoms, wanted: bool) -> npt.NDArray[np.float64] | None:
    """Forces if they are wanted, or if the calculator finds them with the energy anyway."""
    if wanted:
        return np.array(atoms.get_forces(), dtype=np.float64)
    atoms.get_potential_energy()
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    return np.array(results["forces"], dtype=np.float64) if "forces" in results else None
