"""Several molecules as one state, and the calculator of each in turn as their physics."""

from __future__ import annotations

import time

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.physics.calculation import ask
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, PhaseState, Reasons, no_evaluation
from kstep_integrators.testing import CountingCalculator

__all__ = ["ListPhysics", "joined"]


def joined(molecules: list[Atoms]) -> PhaseState:
    """One state of several molecules."""
    return join_states([state_from_atoms(atoms) for atoms in molecules])


class ListPhysics:
    """The calculator of each molecule in turn; each counts for itself.

    Attributes
    ----------
    lost : dict of int to str
        Molecules that are not evaluated any more, and why.
    """

    def __init__(self, molecules: list[Atoms]) -> None:
        self.molecules = [atoms.copy() for atoms in molecules]
        for mine, atoms in zip(self.molecules, molecules, strict=True):
            mine.calc = CountingCalculator(atoms.calc)
        self.lost: Reasons = {}
        self.seconds = 0.0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energies (B,) and, if wanted, forces (N, 3)."""
        began = time.perf_counter()
        found = no_evaluation(state)
        evaluations = np.zeros(state.n_molecules, dtype=np.int64)
        energies, gradients = found.energy, found.require_forces()
        for i, atoms in enumerate(self.molecules):
            if which is not None and not bool(which[i]):
                continue
            if i in self.lost:
                found.failures[i] = self.lost[i]
                continue
            mine = state.batch == i
            atoms.positions = state.positions[mine].numpy()
            evaluations[i] = 1
            answer = ask(atoms, forces)
            if answer.failure is not None:
                found.failures[i] = answer.failure
                continue
            energies[i] = answer.energy
            if answer.forces is not None:
                gradients[mine] = torch.from_numpy(answer.forces)
        seconds = time.perf_counter() - began
        self.seconds += seconds
        found = found if forces else Evaluation(energies, None, found.failures)
        return found, Cost(evaluations, seconds)

    def counts(self) -> list[int]:
        """Evaluations of each molecule, counted in its calculator."""
        return [atoms.calc.evaluations for atoms in self.molecules]
