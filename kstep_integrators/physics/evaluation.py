"""Physics evaluations: the expensive calls, counted, and never repeated for one geometry."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Protocol

import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator
from torch import Tensor

from kstep_integrators.physics.calculation import ask
from kstep_integrators.state import Evaluation, PhaseState, Reasons

__all__ = ["CalculatorPhysics", "EvaluationCache", "Physics", "nowhere"]


class Physics(Protocol):
    """The expensive method.

    Attributes
    ----------
    evaluations : int
        Calls made so far, one for each molecule evaluated, failed ones included.
    seconds : float
        Wall-clock time spent in them.
    """

    evaluations: int
    seconds: float

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Energy and, if wanted, forces at the positions of a state, on its device.

        It does not raise if a calculation fails: ``failures`` of the evaluation says which did.

        Parameters
        ----------
        state : PhaseState
        forces : bool
        which : (B,) bool Tensor, optional
            Molecules to be evaluated; the numbers of the others are NaN, and no failures. All by
            default.
        """
        ...


def nowhere(state: PhaseState, failures: Reasons | None = None) -> Evaluation:
    """What is known of a geometry where nothing is: NaN for every molecule."""
    nothing = torch.full_like(state.time, math.nan)
    return Evaluation(nothing, torch.full_like(state.positions, math.nan), failures or {})


class EvaluationCache:
    """The last few evaluations, keyed by geometry.

    Parameters
    ----------
    size : int
        A run needs two: the state it stands on and the trial it may take back.
    """

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self._kept: OrderedDict[Hashable, Evaluation] = OrderedDict()

    @staticmethod
    def _key(state: PhaseState) -> Hashable:
        arrays = (state.numbers, state.positions, state.cell)
        return (*(a.detach().cpu().numpy().tobytes() for a in arrays), state.pbc)

    def get(self, state: PhaseState) -> Evaluation | None:
        """The evaluation at exactly this geometry, if it is one of the last."""
        return self._kept.get(self._key(state))

    def put(self, state: PhaseState, evaluation: Evaluation) -> None:
        """Keep an evaluation and drop the oldest beyond the size."""
        key = self._key(state)
        self._kept[key] = evaluation
        self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)


class CalculatorPhysics:
    """An ASE calculator as the physics.

    Parameters
    ----------
    atoms : ase.Atoms
        Template for cell, info and arrays. It is copied: trial geometries never show in the user's
        object.
    calculator : ase Calculator
    cache_size : int
        Evaluations kept: the start of a step and all that may be tried from it.
    """

    def __init__(self, atoms: Atoms, calculator: BaseCalculator, cache_size: int = 2) -> None:
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = calculator
        self.cache = EvaluationCache(cache_size)
        # Evaluations are held here too, so that their identities stay their own.
        self._known: dict[int, tuple[Evaluation, Atoms | None, dict[str, Any]]] = {}
        self.evaluations = 0
        self.seconds = 0.0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Energy (1,) eV and forces (N, 3) eV/angstrom, without constraint forces.

        Without ``forces`` they are there only if the calculator computed them anyway.
        """
        if which is not None and not bool(which[0]):
            return nowhere(state)
        kept = self.cache.get(state)
        if kept is not None and (kept.forces is not None or not forces):
            return kept
        self.atoms.positions[:] = state.positions.cpu().numpy()
        self.atoms.cell[:] = state.cell.cpu().numpy()
        self.evaluations += 1
        started = time.perf_counter()
        answer = ask(self.atoms, forces)
        self.seconds += time.perf_counter() - started
        if answer.failure is not None:
            return nowhere(state, {0: answer.failure})
        found = answer.forces
        device = state.positions.device
        evaluation = Evaluation(
            torch.tensor([answer.energy], dtype=torch.float64, device=device),
            None if found is None else torch.from_numpy(found).to(device),
        )
        self.cache.put(state, evaluation)
        self._remember(evaluation)
        return evaluation

    def _remember(self, evaluation: Evaluation) -> None:
        """Keep what the calculator itself knows of this geometry, for :meth:`serve`."""
        calculator = self.atoms.calc
        if isinstance(calculator, Calculator):
            self._known[id(evaluation)] = (evaluation, calculator.atoms, dict(calculator.results))
            while len(self._known) > self.cache.size:
                del self._known[next(iter(self._known))]

    def results(self, evaluation: Evaluation) -> dict[str, Any]:
        """All that the calculator computed along with one of the last evaluations."""
        known = self._known.get(id(evaluation))
        return {} if known is None else dict(known[2])

    def adopt(self, state: PhaseState, evaluation: Evaluation, results: dict[str, Any]) -> None:
        """Take over an evaluation that another process made, and what was computed along with it.

        The calculator is not touched: one that has computed nothing yet may not be told that it
        stands anywhere.
        """
        self.cache.put(state, evaluation)
        if isinstance(self.atoms.calc, Calculator) and results:
            there = self.atoms.copy()
            there.positions[:] = state.positions.cpu().numpy()
            there.cell[:] = state.cell.cpu().numpy()
            self._known[id(evaluation)] = (evaluation, there, results)

    def serve(self, evaluation: Evaluation) -> None:
        """Let the calculator stand where it made an evaluation, after others that were rejected.

        Loggers and trajectories ask it for the geometry of the run. What it computed there is put
        back, and nothing else; calculators that are not ASE's usual class compute it again.
        """
        known = self._known.pop(id(evaluation), None)
        if known is not None and isinstance(self.atoms.calc, Calculator):
            self._known[id(evaluation)] = known  # the youngest again, however long the run stays
            _, self.atoms.calc.atoms, results = known
            self.atoms.calc.results = dict(results)
