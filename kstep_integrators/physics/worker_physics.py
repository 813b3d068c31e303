"""The physics of many molecules at once: their calculators, wherever they work."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kstep_integrators.physics.protocol import Cost
from kstep_integrators.physics.workers import Request, Workers
from kstep_integrators.state import Evaluation, PhaseState, no_evaluation

__all__ = ["WorkerPhysics"]


class WorkerPhysics:
    """Energies and forces of the molecules of a state, from workers.

    Parameters
    ----------
    workers : Workers
    molecules : sequence of ase.Atoms
        Templates for cell, info and arrays, such as initial charges. They are copied, without
        constraints and calculators.
    numbers : sequence of int, optional
        Under which the workers know the molecules; 0, 1, ... by default.
    """

    def __init__(
        self, workers: Workers, molecules: Sequence[Atoms], numbers: Sequence[int] | None = None
    ) -> None:
        self.workers = workers
        self.numbers = tuple(range(len(molecules)) if numbers is None else numbers)
        self._templates = [_bare(atoms) for atoms in molecules]

    def select(self, which: Tensor) -> WorkerPhysics:
        """The physics of some of the molecules, (B,) bool."""
        left = torch.nonzero(which).flatten().tolist()
        return WorkerPhysics(
            self.workers, [self._templates[i] for i in left], [self.numbers[i] for i in left]
        )

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energies (B,) eV and forces (N, 3) eV/angstrom, NaN where there are none; and the cost.

        A geometry that has to be computed again because its worker was lost counts once.
        """
        began = time.perf_counter()
        molecules = list(range(len(self.numbers)))
        if which is not None:
            molecules = torch.nonzero(which).flatten().tolist()  # one transfer for all
        sizes = torch.bincount(state.batch.cpu()).tolist()
        places = state.positions.cpu().split(sizes)
        requests = []
        evaluations = np.zeros(len(self.numbers), dtype=np.int64)
        for i in molecules:
            atoms = self._templates[i].copy()
            atoms.positions[:] = places[i].numpy()
            requests.append(Request(self.numbers[i], atoms, forces))
        answers = self.workers.evaluate(requests) if requests else []
        result = no_evaluation(state.to(torch.device("cpu")))
        rows = result.require_forces().split(sizes)
        for i, answer in zip(molecules, answers, strict=True):
            evaluations[i] = answer.computed
            if answer.failure is not None:
                result.failures[i] = answer.failure
                continue
            result.energy[i] = answer.energy
            if answer.forces is not None:
                rows[i].copy_(torch.from_numpy(answer.forces))
        if any(answer.failure is None and answer.forces is None for answer in answers):
            result = Evaluation(result.energy, None, result.failures)
        cost = Cost(evaluations, time.perf_counter() - began)
        return result.to(state.positions.device), cost


def _bare(atoms: Atoms) -> Atoms:
    """A copy without calculator and constraints."""
    copied: Atoms = atoms.copy()
    copied.set_constraint()
    return copied
