"""The physics of a learning run: every evaluation becomes a label, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.labels import Label, kept_results, key_of
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.protocol import Cost, Physics
from kstep_integrators.state import Evaluation, PhaseState, mask_of, no_evaluation

__all__ = ["LabelledPhysics"]

Arrays = list[npt.NDArray[np.float64]]


class LabelledPhysics:
    """A physics whose evaluations are kept as labels, and handed on to be learned from.

    A geometry gives one label, when it is evaluated for the first time, and another if forces come
    to it later; what is evaluated again gives none. A run that goes on from a checkpoint is given
    what the file of labels holds from after it, at the count that was paid for it and in no time:
    it learns the same labels, counts the same evaluations, and computes none of them again.

    Parameters
    ----------
    physics : Physics
        The expensive method, of the same molecules; in :attr:`physics` for whoever needs more of
        it than its energies and forces.
    labels : LabelFile
    learn : callable
        Takes each label, after it is in the file.
    step : callable
        Tells how many steps the run has made.
    molecules : sequence of int, optional
        Under which the file knows the molecules of a state; 0, 1, ... by default.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> from kstep_integrators.physics.identity import settings_of
    >>> water, method = molecule("H2O"), LennardJones()
    >>> learned = []
    >>> with LabelFile(tempfile.mkdtemp() + "/labels.traj", settings_of(method)) as labels:
    ...     physics = LabelledPhysics(
    ...         CalculatorPhysics(water, method), labels, learned.append, step=lambda: 0
    ...     )
    ...     for _ in range(2):
    ...         evaluation, cost = physics(state_from_atoms(water))
    >>> len(learned), int(cost.evaluations[0])
    (1, 0)
    """

    def __init__(
        self,
        physics: Physics,
        labels: LabelFile,
        learn: Callable[[Label], None],
        step: Callable[[], int],
        molecules: Sequence[int] | None = None,
    ) -> None:
        self.physics, self.labels = physics, labels
        self._learn, self._step = learn, step
        self._molecules = molecules

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energies and forces, as :class:`~kstep_integrators.physics.protocol.Physics` has them.

        Raises
        ------
        OSError
            If a label cannot be written.
        """
        asked = [*range(state.n_molecules)]
        if which is not None:
            asked = torch.nonzero(which).flatten().tolist()
        places = _by_molecule(state.positions, state)
        keys = {i: self._key(state, places, i) for i in asked}
        served = self._served(keys, forces) if self.labels.pending else {}
        if served:
            rest = [i for i in asked if i not in served]
            evaluation, cost = self._beside(state, served, rest, forces)
        else:
            evaluation, cost = self.physics(state, forces, which)
        self._keep(state, keys, places, evaluation, cost, served)
        return evaluation, cost

    def _key(self, state: PhaseState, places: Arrays, i: int) -> bytes:
        template = None if state.templates is None else state.templates[i]
        return key_of(
            self._number(i),
            self.labels.hash_of(template),
            places[i],
            state.cell[i].cpu().numpy(),
            state.pbc,
        )

    def _number(self, i: int) -> int:
        return i if self._molecules is None else self._molecules[i]

    def _served(self, keys: dict[int, bytes], forces: bool) -> dict[int, Label]:
        """Labels that the file has and the run has not, of the molecules that they are for."""
        found = {i: self.labels.take(key, forces) for i, key in keys.items()}
        return {i: label for i, label in found.items() if label is not None}

    def _beside(
        self, state: PhaseState, served: dict[int, Label], rest: list[int], forces: bool
    ) -> tuple[Evaluation, Cost]:
        """The evaluation of all: some from the file, and the rest by the physics."""
        evaluation, cost = no_evaluation(state), Cost(np.zeros(state.n_molecules, dtype=np.int64))
        if rest:
            evaluation, cost = self.physics(state, forces, mask_of(rest, state.time))
        energy, evaluations = evaluation.energy.clone(), cost.evaluations.copy()
        rows = None if evaluation.forces is None else evaluation.forces.clone()
        for i, label in served.items():
            energy[i], evaluations[i] = label.energy, label.evaluations
            if label.forces is None:
                rows = None
            elif rows is not None:
                rows[state.batch == i] = torch.from_numpy(label.forces).to(rows)
        evaluation = Evaluation(energy, rows, evaluation.failures)
        if isinstance(self.physics, CalculatorPhysics):
            self.physics.adopt(state, evaluation, served[0].atoms().calc.results)
        return evaluation, Cost(evaluations, cost.seconds)

    def _keep(
        self,
        state: PhaseState,
        keys: dict[int, bytes],
        places: Arrays,
        evaluation: Evaluation,
        cost: Cost,
        served: dict[int, Label],
    ) -> None:
        """Write and hand on what is new, molecule by molecule."""
        rows = None
        if evaluation.forces is not None:
            rows = _by_molecule(evaluation.forces, state)
        for i, key in keys.items():
            if i in served:
                self._learn(served[i])
            elif i not in evaluation.failures and not self.labels.has(key, rows is not None):
                label = self._label(state, i, places, evaluation, rows, cost)
                self.labels.append(label)
                self._learn(label)

    def _label(
        self,
        state: PhaseState,
        i: int,
        places: Arrays,
        evaluation: Evaluation,
        rows: Arrays | None,
        cost: Cost,
    ) -> Label:
        results = {}
        if isinstance(self.physics, CalculatorPhysics):
            results = kept_results(self.physics.results(evaluation))
        return Label(
            numbers=state.numbers[state.batch == i].cpu().numpy(),
            positions=places[i].copy(),
            cell=state.cell[i].cpu().numpy().copy(),
            pbc=state.pbc,
            energy=float(evaluation.energy[i]),
            forces=None if rows is None else rows[i].copy(),
            molecule=self._number(i),
            step=self._step(),
            evaluations=int(cost.evaluations[i]),
            results=results,
            template=None if state.templates is None else state.templates[i],
        )


def _by_molecule(rows: Tensor, state: PhaseState) -> Arrays:
    """Rows of atoms (N, 3), apart for each molecule."""
    sizes = torch.bincount(state.batch, minlength=state.n_molecules).tolist()
    return [part.numpy() for part in rows.cpu().split(sizes)]
