"""An ASE calculator as the physics: asked, counted, and never twice for one geometry."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator
from torch import Tensor

from kstep_integrators.physics.calculation import ask, copied
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.physics.store import EvaluationStore, geometry
from kstep_integrators.state import Evaluation, PhaseState, no_evaluation

__all__ = ["CalculatorPhysics"]

_FREE = Cost(np.zeros(1, dtype=np.int64), 0.0)


@dataclass(frozen=True)
class _Known:
    """An evaluation, and all that the calculator itself knows of its geometry.

    Attributes
    ----------
    evaluation : Evaluation
    atoms : ase.Atoms or None
        Where the calculator stood; None for one that is not ASE's usual class.
    results : dict
    """

    evaluation: Evaluation
    atoms: Atoms | None
    results: dict[str, Any]


class CalculatorPhysics:
    """An ASE calculator as the physics of one set of atoms.

    The last few evaluations are kept by geometry, each with all that the calculator computed along
    with it. All else that a number depends on (elements, charges, parameters, ...) is fixed
    for the life of the object: whoever changes it makes another.

    Parameters
    ----------
    atoms : ase.Atoms
        Template for info and arrays. It is copied: trial geometries never show in the user's
        object.
    calculator : ase Calculator
    kept : int
        Evaluations kept: the start of a step and all that may be tried from it.
    """

    def __init__(self, atoms: Atoms, calculator: BaseCalculator, kept: int = 2) -> None:
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = calculator
        self._store: EvaluationStore[_Known] = EvaluationStore(kept)
        self._stood: Atoms | None = None

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energy (1,) eV and forces (N, 3) eV/angstrom, without constraint forces, and their cost.

        Without ``forces`` they are there only if the calculator computed them anyway.
        """
        if which is not None and not bool(which[0]):
            return no_evaluation(state), _FREE
        key = geometry(state)
        known = self._store.get(key)
        if known is not None and (known.evaluation.forces is not None or not forces):
            return known.evaluation, _FREE
        self._place(self.atoms, state)
        began = time.perf_counter()
        answer = ask(self.atoms, forces, self._stood)
        cost = Cost(np.array([answer.computed], dtype=np.int64), time.perf_counter() - began)
        if answer.failure is not None:
            return no_evaluation(state, {0: answer.failure}), cost
        device = state.positions.device
        evaluation = Evaluation(
            torch.from_numpy(np.array([answer.energy])).to(device),
            None if answer.forces is None else torch.from_numpy(answer.forces).to(device),
        )
        calculator = self.atoms.calc
        usual = isinstance(calculator, Calculator)
        self._stood = calculator.atoms if usual else None
        results = copied(calculator.results) if usual else {}
        self._store.put(key, _Known(evaluation, self._stood, results))
        return evaluation, cost

    @staticmethod
    def _place(atoms: Atoms, state: PhaseState) -> None:
        """Put atoms where a state has them, in its cell if that has been scaled."""
        atoms.arrays["positions"][:] = state.positions.cpu().numpy()
        if any(state.pbc):
            cell = state.cell[0].cpu().numpy()
            if not np.array_equal(atoms.cell.array, cell):
                atoms.set_cell(cell)

    def _of(self, evaluation: Evaluation) -> tuple[bytes, _Known] | None:
        """The geometry of one of the last evaluations, and all that is known there."""
        for key, known in self._store.items():
            if known.evaluation is evaluation:
                return key, known
        return None

    def results(self, evaluation: Evaluation) -> dict[str, Any]:
        """All that the calculator computed along with one of the last evaluations."""
        here = self._of(evaluation)
        return {} if here is None else copied(here[1].results)

    def adopt(self, state: PhaseState, evaluation: Evaluation, results: dict[str, Any]) -> None:
        """Take over an evaluation that another process made, and what was computed along with it.

        The calculator is not touched: one that has computed nothing yet may not be told that it
        stands anywhere.
        """
        there = None
        if isinstance(self.atoms.calc, Calculator) and results:
            there = self.atoms.copy()
            self._place(there, state)
        self._store.put(geometry(state), _Known(evaluation, there, results))

    def serve(self, evaluation: Evaluation) -> None:
        """Let the calculator stand where it made an evaluation, after others that were rejected.

        Loggers and trajectories ask it for the geometry of the run. What it computed there is put
        back, and nothing else; calculators that are not ASE's usual class compute it again.
        """
        here = self._of(evaluation)
        if here is None:
            return
        key, known = here
        self._store.put(key, known)  # the youngest again, however long the run stays
        calculator = self.atoms.calc
        if known.atoms is not None and isinstance(calculator, Calculator):
            if calculator.atoms is known.atoms:
                return  # it has not been anywhere else
            calculator.atoms, calculator.results = known.atoms, copied(known.results)
            self._stood = known.atoms
