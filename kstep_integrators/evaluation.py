"""Physics evaluations: the expensive calls, counted, and never repeated for one geometry."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.state import Evaluation, EvaluationFailed, PhaseState

__all__ = ["CalculatorPhysics", "EvaluationCache", "Physics"]


class Physics(Protocol):
    """The expensive method.

    Attributes
    ----------
    evaluations : int
        Calls made so far, failed ones included.
    seconds : float
        Wall-clock time spent in them.
    """

    evaluations: int
    seconds: float

    def __call__(self, state: PhaseState) -> Evaluation:
        """Energy and forces at the positions of a state, on its device.

        Raises
        ------
        EvaluationFailed
            If there are none.
        """
        ...


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
    """

    def __init__(self, atoms: Atoms, calculator: BaseCalculator) -> None:
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = calculator
        self.cache = EvaluationCache()
        self.evaluations = 0
        self.seconds = 0.0

    def __call__(self, state: PhaseState) -> Evaluation:
        """Energy (1,) eV and forces (N, 3) eV/angstrom, without constraint forces."""
        kept = self.cache.get(state)
        if kept is not None:
            return kept
        self.atoms.positions[:] = state.positions.cpu().numpy()
        self.atoms.cell[:] = state.cell.cpu().numpy()
        self.evaluations += 1
        started = time.perf_counter()
        try:
            forces = np.array(self.atoms.get_forces(), dtype=np.float64)
            energy = float(self.atoms.get_potential_energy())
        except Exception as error:
            # Calculators raise what they like; all of it means that there is no force here.
            raise EvaluationFailed(f"{type(error).__name__}: {error}") from error
        finally:
            self.seconds += time.perf_counter() - started
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            # Or the calculator would serve the same again from its own cache.
            self.atoms.calc.reset()
            bad = np.flatnonzero(~np.isfinite(forces).all(axis=1)).tolist()
            raise EvaluationFailed(
                f"the calculator returned the energy {energy} eV and no finite forces on atoms "
                f"{bad}"
            )
        device = state.positions.device
        evaluation = Evaluation(
            torch.tensor([energy], dtype=torch.float64, device=device),
            torch.from_numpy(forces).to(device),
        )
        self.cache.put(state, evaluation)
        return evaluation
