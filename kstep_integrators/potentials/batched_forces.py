"""Forces of another package's model, which takes the molecules of a state all at once."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.differences import difference_products
from kstep_integrators.state import (
    Evaluation,
    EvaluationFailed,
    HessianProducts,
    PhaseState,
    Reasons,
)

__all__ = ["BatchedForces", "Walk", "warn_of_electrons_unseen"]

NOWHERE: Final = "the motion on it leads nowhere: positions are not finite"


@dataclass
class Walk:
    """Workspace that a potential keeps from one base step to the next.

    Attributes
    ----------
    images : (N, 3) float64 or None
        Cell vectors from the image of each atom that the model sees to the atom; None in open
        space. The same for a whole jump, so that no neighbour list sees an atom leap.
    lists : dict of int to object
        Neighbour lists of molecules.
    failures : dict of int to str
        Molecules that have failed, and why. What failed in one step is not tried in the next.
    """

    images: Tensor | None
    lists: dict[int, Any] = field(default_factory=dict)
    failures: Reasons = field(default_factory=dict)


class BatchedForces(ABC):
    """Forces of a model for one fixed set of atoms; NaN for a molecule where it fails.

    A molecule whose positions are not finite is left out of the batch. If the model raises an error
    for several molecules, each of them is asked for alone, so that one harms no other.

    Parameters
    ----------
    state : PhaseState
        The atoms, their cells and what is periodic.
    device : torch.device
        Of the model.
    dtype : torch.dtype
        That the model computes in.
    """

    def __init__(self, state: PhaseState, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.pbc = state.pbc
        self.batch = state.batch.to(device)
        self.numbers = state.numbers.to(device)
        self.all = tuple(range(state.n_molecules))
        self.sizes: list[int] = torch.bincount(state.batch).tolist()
        cells = state.cell.to(device).expand(state.n_molecules, 3, 3)
        periodic = torch.tensor(state.pbc, device=device).unsqueeze(1)
        self.cells = torch.where(periodic, cells, 0.0)
        """(B, 3, 3) float64; the vectors of open directions are zero."""
        self._inverse = torch.linalg.pinv(self.cells) if any(state.pbc) else None

    @abstractmethod
    def answer(self, x: Tensor, molecules: tuple[int, ...], walk: Walk) -> tuple[Tensor, Tensor]:
        """Energies (b,) and forces (n, 3) of some molecules, in eV and angstrom.

        Parameters
        ----------
        x : (n, 3) float64
            Positions of their atoms, on the device of the model.
        molecules : tuple of int
            Which they are; :attr:`all` as a rule.
        walk : Walk
        """

    def __call__(self, positions: Tensor, workspace: Walk | None) -> tuple[Evaluation, Walk]:
        """Energies and forces, float64; the workspace is a :class:`Walk`.

        Raises
        ------
        EvaluationFailed
            For one molecule, if the model fails.
        """
        x = positions.to(self.device)
        walk = self.begin(x) if workspace is None else workspace
        x = x if walk.images is None else x - walk.images
        energy = x.new_full((len(self.all),), math.nan)
        forces = torch.full_like(x, math.nan)
        if not bool(x.isfinite().all()):
            for i, place in enumerate(x.split(self.sizes)):
                if not bool(place.isfinite().all()):
                    walk.failures.setdefault(i, NOWHERE)
        alive = self.all
        if walk.failures:
            alive = tuple(i for i in self.all if i not in walk.failures)
        for molecules, (e, f) in self._answers(x, alive, walk):
            energy[list(molecules)] = e.to(energy)
            forces[self.atoms(molecules)] = f.to(forces)
        if len(self.all) == 1 and walk.failures:
            raise EvaluationFailed(walk.failures[0])
        here = positions.device
        return Evaluation(energy.to(here), forces.to(here), dict(walk.failures)), walk

    def linearized(self, positions: Tensor) -> HessianProducts:
        """Central differences of forces: two evaluations per vector; NaN where one fails."""
        return difference_products(self._forces_alone, positions, self.batch.to(positions.device))

    def begin(self, x: Tensor) -> Walk:
        """The workspace of a jump that starts at positions (N, 3) on the device of the model."""
        if self._inverse is None:
            return Walk(None)
        fraction = (x.unsqueeze(1) @ self._inverse[self.batch]).nan_to_num(0.0, 0.0, 0.0)
        return Walk((fraction.floor() @ self.cells[self.batch]).squeeze(1))

    def atoms(self, molecules: tuple[int, ...]) -> Tensor | slice:
        """The atoms of some molecules among those of all."""
        if molecules == self.all:
            return slice(None)
        return torch.isin(self.batch, torch.tensor(molecules, device=self.device))

    def _answers(
        self, x: Tensor, molecules: tuple[int, ...], walk: Walk
    ) -> list[tuple[tuple[int, ...], tuple[Tensor, Tensor]]]:
        """Results of the model for some molecules: all at once, or each alone."""
        if not molecules:
            return []
        try:
            energy, forces = self.answer(x[self.atoms(molecules)], molecules, walk)
        except Exception as error:  # noqa: BLE001  (models raise what they like)
            if len(molecules) > 1:
                return [one for i in molecules for one in self._answers(x, (i,), walk)]
            walk.failures[molecules[0]] = f"{type(error).__name__}: {error}"
            return []
        if bool(energy.isfinite().all()) and bool(forces.isfinite().all()):
            return [(molecules, (energy, forces))]
        if len(molecules) > 1:
            return [one for i in molecules for one in self._answers(x, (i,), walk)]
        walk.failures[molecules[0]] = (
            f"the model returned the energy {float(energy[0])} eV and forces of up to "
            f"{float(forces.abs().max())} eV/angstrom, expected finite ones"
        )
        return []

    def _forces_alone(self, positions: Tensor) -> Tensor:
        evaluation, _ = self(positions, None)
        if len(evaluation.failures) == len(self.all):
            raise EvaluationFailed(next(iter(evaluation.failures.values())))
        return evaluation.require_forces()


def warn_of_electrons_unseen(state: PhaseState, model: str, seen: Sequence[str] = ()) -> None:
    """Warn of a charge or spin of the atoms that a model is not told.

    Parameters
    ----------
    state : PhaseState
    model : str
        How to name it.
    seen : sequence of str
        ``"charge"`` and ``"multiplicity"`` as far as it asks for them.
    """
    said = set()
    for atoms in state.templates or ():
        try:
            noted = electrons_noted(atoms)
        except ValueError:  # what contradicts itself: the physics says so, if it asks
            continue
        if noted.charge and "charge" not in seen:
            said.add(f"charge {noted.charge}")
        if (noted.multiplicity or 1) > 1 and "multiplicity" not in seen:
            said.add(f"multiplicity {noted.multiplicity}")
    if said:
        warnings.warn(
            f"the atoms have {' and '.join(sorted(said))}, which {model} is not told: it takes "
            "them for whatever it was fitted to, and jumps may be poor. Use a model that asks for "
            "it, or CalculatorPotential(...)",
            KStepWarning,
            stacklevel=3,
        )
