"""The physics of many molecules at once: their calculators, wherever they work."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from ase import Atoms
from torch import Tensor

from kstep_integrators.physics.evaluation import nowhere
from kstep_integrators.physics.workers import Request, Workers
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["WorkerPhysics"]


class WorkerPhysics:
    """Energies and forces of the molecules of a state, from workers.

    Parameters
    ----------
    workers : Workers
    molecules : sequence of ase.Atoms
        Templates for cell, info and arrays, such as initial charges. They are copied, without
        constraints and calculators.

    Attributes
    ----------
    replicas : list of int
        Which of the molecules are in the states that are evaluated, in their order.
    counts : list of int
        Evaluations of each of the molecules, failed ones included. A geometry that has to be
        computed again because its worker was lost counts once.
    evaluations : int
        Sum of the counts.
    seconds : float
        Wall-clock time.
    """

    def __init__(self, workers: Workers, molecules: Sequence[Atoms]) -> None:
        self.workers = workers
        self.replicas = list(range(len(molecules)))
        self.counts = [0] * len(molecules)
        self.evaluations = 0
        self.seconds = 0.0
        self._templates = [_bare(atoms) for atoms in molecules]

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Energies (B,) eV and forces (N, 3) eV/angstrom; NaN where there are none."""
        began = time.perf_counter()
        molecules = list(range(len(self.replicas)))
        if which is not None:
            molecules = torch.nonzero(which).flatten().tolist()  # one transfer for all
        sizes = torch.bincount(state.batch.cpu()).tolist()
        places = state.positions.cpu().split(sizes)
        requests = []
        for i in molecules:
            atoms = self._templates[self.replicas[i]].copy()
            atoms.positions[:] = places[i].numpy()
            requests.append(Request(self.replicas[i], atoms, forces))
            self.counts[self.replicas[i]] += 1
        self.evaluations += len(requests)
        answers = self.workers.evaluate(requests) if requests else []
        found = nowhere(state.to(torch.device("cpu")))
        rows = found.require_forces().split(sizes)
        for i, answer in zip(molecules, answers, strict=True):
            if answer.failure is not None:
                found.failures[i] = answer.failure
                continue
            found.energy[i] = answer.energy
            if answer.forces is not None:
                rows[i].copy_(torch.from_numpy(answer.forces))
        if any(answer.failure is None and answer.forces is None for answer in answers):
            found = Evaluation(found.energy, None, found.failures)
        self.seconds += time.perf_counter() - began
        return found.to(state.positions.device)


def _bare(atoms: Atoms) -> Atoms:
    """A copy without calculator and constraints."""
    copied: Atoms = atoms.copy()
    copied.set_constraint()
    return copied
