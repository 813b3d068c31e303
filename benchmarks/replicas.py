"""Replicas of a molecule as one state, and a physics that computes energies alone where it may."""

from __future__ import annotations

import time

import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from torch import Tensor

from kstep_integrators.ase_state import state_from_atoms
from kstep_integrators.evaluation import nowhere
from kstep_integrators.state import Evaluation, PhaseState, make_state
from kstep_integrators.testing import CountingCalculator

__all__ = ["ListPhysics", "joined"]


def joined(molecules: list[Atoms]) -> PhaseState:
    """One state of several molecules."""
    states = [state_from_atoms(atoms) for atoms in molecules]
    counts = torch.tensor([len(s.numbers) for s in states])
    return make_state(
        torch.cat([s.numbers for s in states]),
        torch.cat([s.masses for s in states]),
        torch.cat([s.positions for s in states]),
        torch.cat([s.momenta for s in states]),
        batch=torch.repeat_interleave(torch.arange(len(states)), counts),
    )


class ListPhysics:
    """The calculator of each molecule in turn; each counts for itself."""

    def __init__(self, molecules: list[Atoms]) -> None:
        self.molecules = [atoms.copy() for atoms in molecules]
        for mine, atoms in zip(self.molecules, molecules, strict=True):
            mine.calc = CountingCalculator(atoms.calc)
        self.evaluations = 0
        self.seconds = 0.0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Energies (B,) and, if wanted, forces (N, 3)."""
        began = time.perf_counter()
        found = nowhere(state)
        energies, gradients = found.energy, found.require_forces()
        failures: dict[int, str] = {}
        for i, atoms in enumerate(self.molecules):
            if which is not None and not bool(which[i]):
                continue
            mine = state.batch == i
            atoms.positions = state.positions[mine].numpy()
            self.evaluations += 1
            try:
                if forces:
                    gradients[mine] = torch.from_numpy(atoms.get_forces())
                energies[i] = atoms.get_potential_energy()
            except CalculationFailed as error:
                failures[i] = str(error)
        self.seconds += time.perf_counter() - began
        return Evaluation(energies, gradients if forces else None, failures)

    def counts(self) -> list[int]:
        """Evaluations of each molecule, counted in its calculator."""
        return [atoms.calc.evaluations for atoms in self.molecules]
